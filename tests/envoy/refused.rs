//! Envoys that do not say who they are, or not in a way that can be. An Envoy
//! shows its user nothing, so the server says what is wrong: in its log, and as
//! an event.

use serde_json::{Value, json};

use crate::{stage::Stage, support::retry};

/// An id, metadata, and the field that is wrong.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    let mesh = |mut metadata: Value| {
        metadata["kuma.io/mesh"] = "default".into();
        metadata
    };
    let inbound = |inbound: Value| mesh(json!({"inbounds": [{"port": 80}, inbound]}));
    vec![
        ("no-mesh", json!({"kuma.io/workload": "web"}), "node.metadata.kuma.io/mesh"),
        ("no-label", mesh(json!({"kuma.io/workload": "Web_1"})), "node.metadata.kuma.io/workload"),
        ("No-Name", mesh(json!({})), "node.id"),
        ("a-name", inbound(json!({"port": 81, "address": "localhost"})), "node.metadata.inbounds[1].address"),
        (
            "a-prefix",
            inbound(json!({"port": 81, "address": "127.0.0.1/32"})),
            "node.metadata.inbounds[1].address",
        ),
        (
            "a-zone",
            inbound(json!({"port": 81, "address": "fe80::1%lo"})),
            "node.metadata.inbounds[1].address",
        ),
        ("port-name", inbound(json!({"port": "http"})), "node.metadata.inbounds[1].port"),
        ("port-0", inbound(json!({"port": 81, "servicePort": 0})), "node.metadata.inbounds[1].servicePort"),
        ("port-65536", inbound(json!({"port": 65536})), "node.metadata.inbounds[1].port"),
        ("half-a-port", inbound(json!({"port": 80.5})), "node.metadata.inbounds[1].port"),
        ("no-port", inbound(json!({})), "node.metadata.inbounds[1].port"),
        ("port-twice", inbound(json!({"port": 80})), "node.metadata.inbounds[1].port"),
        (
            "two-lines",
            inbound(json!({"port": 81, "protocol": "http", "path": "/\r\nHost: x"})),
            "node.metadata.inbounds[1].path",
        ),
        ("grpc", inbound(json!({"port": 81, "protocol": "grpc"})), "node.metadata.inbounds[1].protocol"),
        (
            "misspelt",
            inbound(json!({"port": 81, "service_port": 1})),
            "node.metadata.inbounds[1].service_port",
        ),
        ("no-list", mesh(json!({"inbounds": {"port": 80}})), "node.metadata.inbounds"),
        (
            "admin-name",
            mesh(json!({"admin": {"port": 9901, "address": "localhost"}})),
            "node.metadata.admin.address",
        ),
    ]
}

/// The event and the log line of a refusal have both.
fn names(text: &str, id: &str, field: &str) -> bool {
    text.lines().any(|line| line.contains(id) && line.contains(&format!("{field}: ")))
}

#[tokio::test]
async fn the_refusal_of_an_envoy_is_an_event_that_names_the_field() {
    let Some(stage) = Stage::set("").await else { return };
    let mut envoys = Vec::new();
    for (id, metadata, field) in wrong() {
        let node = json!({"id": id, "cluster": "web", "metadata": metadata});
        envoys.push((id, field, stage.envoy_that_says(id, &node).await));
    }
    for (id, field, envoy) in &envoys {
        retry(&format!("{id}: {field} in an event"), async || {
            let events = stage.server.run("get events -A").await.expect_exit(0).out;
            names(&events, id, field).then_some(())
        })
        .await;
        // It is told nothing, asks again and again, and lives.
        envoy.counts("hds_delegate.errors", 2).await;
        assert_eq!(envoy.admin.counter("hds_delegate.updates").await, Some(0), "{id}");
        assert!(envoy.admin.is_ready().await, "{id}");
    }
    let workloads = stage.server.run("get workloads -A").await.expect_exit(0);
    assert_eq!(workloads.out, "", "nobody is counted");
}

#[tokio::test]
async fn the_refusal_of_an_envoy_is_a_line_of_the_log_that_names_the_field() {
    let Some(stage) = Stage::set("").await else { return };
    let metadata = json!({"kuma.io/mesh": "default", "inbounds": [{"port": 80, "protocol": "grpc"}]});
    let node = json!({"id": "web-1", "cluster": "web", "metadata": metadata});
    let _envoy = stage.envoy_that_says("web-1", &node).await;
    let field = "node.metadata.inbounds[0].protocol";
    stage.server.program.wait_for_stderr_matching(field, |log| names(log, "web-1", field)).await;
}
