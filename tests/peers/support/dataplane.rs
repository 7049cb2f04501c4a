//! Dataplane files, derived from the examples.

use std::net::SocketAddr;

const SERVICE: &str = include_str!("../../../examples/dataplanes/demo-workload.yaml");
const GATEWAY: &str = include_str!("../../../examples/dataplanes/gateway.yaml");

/// Replaces a part of a text, and panics if the text does not contain it.
#[track_caller]
pub(crate) fn replace(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in:\n{text}");
    text.replace(from, to)
}

/// A gateway, which is healthy while it is connected.
pub(crate) fn gateway(mesh: &str, workload: &str, name: &str) -> String {
    let text = replace(GATEWAY, "mesh: default", &format!("mesh: {mesh}"));
    let text = replace(&text, "name: edge-gateway-1", &format!("name: {name}"));
    replace(&text, "kuma.io/workload: edge-gateway", &format!("kuma.io/workload: {workload}"))
}

/// A proxy of `demo-workload` whose agent probes this application ten times a second. `probe` is the
/// kind of probe, such as `tcp: {}`.
pub(crate) fn service(name: &str, application: SocketAddr, probe: &str) -> String {
    let text = replace(SERVICE, "name: demo-workload-1", &format!("name: {name}"));
    let text = replace(&text, "servicePort: 8080", &format!("servicePort: {}", application.port()));
    let text = replace(&text, "serviceAddress: 127.0.0.1", &format!("serviceAddress: {}", application.ip()));
    let text = replace(&text, "interval: 1s", "interval: 100ms");
    replace(&text, "tcp: {}", probe)
}
