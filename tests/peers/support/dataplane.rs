//! Dataplane files, made of the examples.

use std::net::SocketAddr;

const SERVICE: &str = include_str!("../../../examples/dataplanes/demo-workload.yaml");
const GATEWAY: &str = include_str!("../../../examples/dataplanes/gateway.yaml");

/// Replaces a text that must be there.
#[track_caller]
pub(crate) fn swap(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in:\n{text}");
    text.replace(from, to)
}

/// A gateway: healthy while it is connected.
pub(crate) fn gateway(mesh: &str, workload: &str, name: &str) -> String {
    let text = swap(GATEWAY, "mesh: default", &format!("mesh: {mesh}"));
    let text = swap(&text, "name: edge-gateway-1", &format!("name: {name}"));
    swap(&text, "kuma.io/workload: edge-gateway", &format!("kuma.io/workload: {workload}"))
}

/// A proxy of `demo-workload` before an application, probed so (`tcp: {}`) ten
/// times a second.
pub(crate) fn service(name: &str, application: SocketAddr, probe: &str) -> String {
    let text = swap(SERVICE, "name: demo-workload-1", &format!("name: {name}"));
    let text = swap(&text, "servicePort: 8080", &format!("servicePort: {}", application.port()));
    let text = swap(&text, "serviceAddress: 127.0.0.1", &format!("serviceAddress: {}", application.ip()));
    let text = swap(&text, "interval: 1s", "interval: 100ms");
    swap(&text, "tcp: {}", probe)
}
