//! Unusual nodes that the server accepts, and a real Envoy's reaction to their specifiers. Specifiers like
//! some of these, from other servers, crash Envoy.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{application::Application, envoy::Envoy, fixture::Fixture, support::Server};

/// Descriptions and metadata, without mesh and workload.
fn unusual_metadata(server: &Server, application: &Application) -> Vec<(&'static str, Value)> {
    let port = |address: SocketAddr| address.port();
    let ip = application.address.ip().to_string();
    let application_port = port(application.address);
    let path = |length: usize| {
        let odd = r#"/%00%zz?&=#"'<>{}|\^`[]~;:@!$,()*+"#;
        odd.chars().chain(std::iter::repeat('x')).take(length).collect::<String>()
    };
    let inbound = |inbound: Value| json!({"inbounds": [inbound]});
    let many = |make: &dyn Fn(u16) -> Value| json!({"inbounds": (1..=64).map(make).collect::<Vec<_>>()});
    vec![
        ("no checks", json!({})),
        ("empty lists", json!({"inbounds": [], "labels": {}})),
        (
            "64 inbounds with one application",
            many(&|port| json!({"port": port, "address": ip, "servicePort": application_port})),
        ),
        ("64 inbounds without an application", many(&|port| json!({"port": port, "protocol": "http"}))),
        (
            "64 long paths",
            many(
                &|port| json!({"port": port, "protocol": "http", "path": path(256), "servicePort": application_port}),
            ),
        ),
        (
            "the longest path, with all unusual characters",
            inbound(
                json!({"port": 1, "protocol": "http", "path": path(1024), "address": ip, "servicePort": application_port}),
            ),
        ),
        (
            "the unspecified IPv4 address",
            inbound(json!({"port": 1, "address": "0.0.0.0", "servicePort": application_port})),
        ),
        ("an IPv4-mapped IPv6 address", inbound(json!({"port": 1, "address": "::ffff:127.0.0.1"}))),
        (
            "the unspecified IPv6 address",
            inbound(json!({"port": 65535, "address": "::", "protocol": "http"})),
        ),
        ("the broadcast address", inbound(json!({"port": 1, "address": "255.255.255.255"}))),
        ("a multicast address", inbound(json!({"port": 1, "address": "ff02::1", "protocol": "http"}))),
        (
            "a server without HTTP/1",
            inbound(json!({"port": 1, "address": ip, "servicePort": port(server.grpc), "protocol": "http"})),
        ),
        ("a missing admin interface", json!({"admin": {"address": "::1", "port": 1}})),
        (
            "a name with non-ASCII characters",
            inbound(
                json!({"port": 1, "name": "headcount:ready — 世界\u{202e}", "address": "", "path": null, "tags": {}}),
            ),
        ),
    ]
}

/// Asserts that the Envoy runs, is ready, and has accepted its specifier without an error.
async fn assert_accepted(description: &str, id: &str, envoy: &Envoy) {
    envoy.wait_for_counter("hds_delegate.updates", 1).await;
    // The node and two reports: the first report may cause an error.
    envoy.wait_for_counter("hds_delegate.responses", 3).await;
    assert!(envoy.admin.is_ready().await, "{description}");
    // Another process may have taken the port of the admin interface.
    assert_eq!(envoy.admin.node_id().await.as_deref(), Some(id), "{description}");
    assert_eq!(envoy.admin.counter("hds_delegate.errors").await, Some(0), "{description}");
}

#[tokio::test]
async fn envoy_accepts_the_specifier_of_every_accepted_node() {
    // A longer interval than usual: many Envoys that start at once overload a small machine, and a session
    // that ends because of late reports also counts as an error.
    let Some(fixture) = Fixture::start("--envoy-report-interval 1s").await else { return };
    let application = Application::start(&fixture.server.site).await;
    for (round, nodes) in unusual_metadata(&fixture.server, &application).chunks(5).enumerate() {
        let mut envoys = Vec::new();
        for (index, (description, metadata)) in nodes.iter().enumerate() {
            let mut metadata = metadata.clone();
            metadata["kuma.io/mesh"] = "default".into();
            metadata["kuma.io/workload"] = format!("round-{round}").into();
            let id = format!("web-{round}-{index}");
            let node = json!({"id": id, "cluster": "web", "metadata": metadata});
            let envoy = fixture.envoy_with_node(&id, &node).await;
            envoys.push((description, id, envoy));
        }
        for (description, id, envoy) in &envoys {
            assert_accepted(description, id, envoy).await;
        }
        let connected = envoys.len();
        let wait = format!("wait workload round-{round} --connected {connected} --timeout 10s");
        fixture.server.run(&wait).await.expect_exit(0);
    }
}
