//! The nastiest things that an Envoy may say of itself and that the server
//! takes. Each makes a specifier of its own, and some have ended Envoys when
//! they were written by other servers.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::{application::Application, envoy::Envoy, stage::Stage, support::Server};

/// Metadata, besides mesh and workload.
fn nasty(server: &Server, application: &Application) -> Vec<(&'static str, Value)> {
    let port = |address: SocketAddr| address.port();
    let ip = application.address.ip().to_string();
    let here = port(application.address);
    let path = |length: usize| {
        let odd = r#"/%00%zz?&=#"'<>{}|\^`[]~;:@!$,()*+"#;
        odd.chars().chain(std::iter::repeat('x')).take(length).collect::<String>()
    };
    let inbound = |inbound: Value| json!({"inbounds": [inbound]});
    let many = |make: &dyn Fn(u16) -> Value| json!({"inbounds": (1..=64).map(make).collect::<Vec<_>>()});
    vec![
        ("nothing to check", json!({})),
        ("an empty list", json!({"inbounds": [], "labels": {}})),
        (
            "one place behind 64 ports",
            many(&|port| json!({"port": port, "address": ip, "servicePort": here})),
        ),
        ("64 places that nobody is at", many(&|port| json!({"port": port, "protocol": "http"}))),
        (
            "64 long paths",
            many(&|port| json!({"port": port, "protocol": "http", "path": path(256), "servicePort": here})),
        ),
        (
            "the longest and oddest path",
            inbound(
                json!({"port": 1, "protocol": "http", "path": path(1024), "address": ip, "servicePort": here}),
            ),
        ),
        ("everywhere", inbound(json!({"port": 1, "address": "0.0.0.0", "servicePort": here}))),
        ("an address in the other family", inbound(json!({"port": 1, "address": "::ffff:127.0.0.1"}))),
        ("nowhere", inbound(json!({"port": 65535, "address": "::", "protocol": "http"}))),
        ("everybody", inbound(json!({"port": 1, "address": "255.255.255.255"}))),
        ("a group", inbound(json!({"port": 1, "address": "ff02::1", "protocol": "http"}))),
        (
            "a server that speaks no HTTP/1",
            inbound(json!({"port": 1, "address": ip, "servicePort": port(server.grpc), "protocol": "http"})),
        ),
        ("an admin interface that is not there", json!({"admin": {"address": "::1", "port": 1}})),
        (
            "names in all scripts",
            inbound(
                json!({"port": 1, "name": "headcount:ready — 世界\u{202e}", "address": "", "path": null, "tags": {}}),
            ),
        ),
    ]
}

/// It runs, says so, has taken what it was told to check, and found nothing
/// wrong with it.
async fn is_unharmed(what: &str, envoy: &Envoy) {
    envoy.counts("hds_delegate.updates", 1).await;
    // Its node, and two reports: what is wrong may show in the first of them.
    envoy.counts("hds_delegate.responses", 3).await;
    assert!(envoy.admin.is_ready().await, "{what}");
    assert_eq!(envoy.admin.counter("hds_delegate.errors").await, Some(0), "{what}");
}

#[tokio::test]
async fn nothing_that_is_taken_harms_an_envoy() {
    // With more patience than usual: so many Envoys that start at once keep a
    // small machine busy, and to be lost for one's silence is an error, too.
    let Some(stage) = Stage::set("--envoy-report-interval 1s").await else { return };
    let application = Application::start(&stage.server.site).await;
    for (round, nasty) in nasty(&stage.server, &application).chunks(5).enumerate() {
        let mut envoys = Vec::new();
        for (index, (what, metadata)) in nasty.iter().enumerate() {
            let mut metadata = metadata.clone();
            metadata["kuma.io/mesh"] = "default".into();
            metadata["kuma.io/workload"] = format!("round-{round}").into();
            let id = format!("web-{round}-{index}");
            let node = json!({"id": id, "cluster": "web", "metadata": metadata});
            envoys.push((what, stage.envoy_that_says(&id, &node).await));
        }
        for (what, envoy) in &envoys {
            is_unharmed(what, envoy).await;
        }
        let connected = envoys.len();
        let wait = format!("wait workload round-{round} --connected {connected} --timeout 10s");
        stage.server.run(&wait).await.expect_exit(0);
    }
}
