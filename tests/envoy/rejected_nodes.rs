//! Envoys with an invalid node. Envoy does not show its user the status of its stream, so the server reports
//! the invalid field in its log and as an event.

use serde_json::{Value, json};

use crate::{fixture::Fixture, support::retry};

/// An id, metadata, and the invalid field.
fn invalid_nodes() -> Vec<(&'static str, Value, &'static str)> {
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

/// Whether a line of the text has the id and the invalid field.
fn has_line_with(text: &str, id: &str, field: &str) -> bool {
    text.lines().any(|line| line.contains(id) && line.contains(&format!("{field}: ")))
}

#[tokio::test]
async fn the_event_of_a_rejection_has_the_invalid_field() {
    let Some(fixture) = Fixture::start("").await else { return };
    let mut envoys = Vec::new();
    for (id, metadata, field) in invalid_nodes() {
        let node = json!({"id": id, "cluster": "web", "metadata": metadata});
        envoys.push((id, field, fixture.envoy_with_node(id, &node).await));
    }
    for (id, field, envoy) in &envoys {
        retry(&format!("{id}: {field} in an event"), async || {
            let events = fixture.server.run("get events -A").await.expect_exit(0).out;
            has_line_with(&events, id, field).then_some(())
        })
        .await;
        // Envoy receives no specifier, retries, and stays alive.
        envoy.wait_for_counter("hds_delegate.errors", 2).await;
        assert_eq!(envoy.admin.counter("hds_delegate.updates").await, Some(0), "{id}");
        assert!(envoy.admin.is_ready().await, "{id}");
    }
    let workloads = fixture.server.run("get workloads -A").await.expect_exit(0);
    assert_eq!(workloads.out, "", "no rejected Envoy is counted");
}

#[tokio::test]
async fn the_log_line_of_a_rejection_has_the_invalid_field() {
    let Some(fixture) = Fixture::start("").await else { return };
    let metadata = json!({"kuma.io/mesh": "default", "inbounds": [{"port": 80, "protocol": "grpc"}]});
    let node = json!({"id": "web-1", "cluster": "web", "metadata": metadata});
    let _envoy = fixture.envoy_with_node("web-1", &node).await;
    let field = "node.metadata.inbounds[0].protocol";
    fixture.server.program.wait_for_stderr_matching(field, |log| has_line_with(log, "web-1", field)).await;
}
