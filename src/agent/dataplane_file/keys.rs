//! The keys of Kuma's Dataplane resource, of all releases. A document may have any of them; a key
//! that is in none of these lists is probably misspelt.

use crate::{convert::document::Keys, model::Quoted};

/// The top level in the format of Universal. The last two are those of releases before Kuma 3.
pub(super) const ROOT: &Keys = &[
    "type",
    "mesh",
    "name",
    "labels",
    "creationTime",
    "modificationTime",
    "kri",
    "networking",
    "metrics",
    "probes",
];
/// The top level in the format of Kubernetes.
pub(super) const KUBERNETES_ROOT: &Keys = &["apiVersion", "kind", "mesh", "metadata", "spec", "status"];
/// `spec` in the format of Kubernetes.
pub(super) const SPEC: &Keys = &["networking", "metrics", "probes"];
pub(super) const NETWORKING: &Keys = &[
    "address",
    "advertisedAddress",
    "inbound",
    "outbound",
    "gateway",
    "listeners",
    "admin",
    "transparentProxying",
    "transparent_proxying",
];
pub(super) const INBOUND: &Keys = &[
    "port",
    "servicePort",
    "serviceAddress",
    "address",
    "tags",
    "health",
    "serviceProbe",
    "state",
    "name",
    "protocol",
];
pub(super) const HEALTH: &Keys = &["ready"];
/// `http` is an extension of headcount.
pub(super) const SERVICE_PROBE: &Keys = &[
    "interval",
    "timeout",
    "unhealthyThreshold",
    "healthyThreshold",
    "unhealthy_threshold",
    "healthy_threshold",
    "tcp",
    "http",
];
pub(super) const HTTP: &Keys = &["path"];
pub(super) const OUTBOUND: &Keys = &["address", "port", "service", "tags", "backendRef"];
pub(super) const GATEWAY: &Keys = &["tags", "type"];
pub(super) const LISTENER: &Keys = &["type", "address", "port", "name", "state"];
pub(super) const ADMIN: &Keys = &["port"];
pub(super) const TRANSPARENT_PROXYING: &Keys = &[
    "redirectPortInbound",
    "redirectPortInboundV6",
    "redirectPortOutbound",
    "directAccessServices",
    "reachableServices",
    "reachableBackends",
    "ipFamilyMode",
    "redirect_port_inbound",
    "redirect_port_inbound_v6",
    "redirect_port_outbound",
    "direct_access_services",
    "reachable_services",
    "reachable_backends",
    "ip_family_mode",
];

/// What to write instead of `interface`, which Kuma's first releases had: `ADDRESS:PORT` of an
/// outbound, `ADDRESS:PORT:SERVICE-PORT` of an inbound.
pub(super) fn instead_of_interface(interface: Option<&str>, inbound: bool) -> String {
    let form = "is the form of Kuma's first releases";
    let keys = if inbound { "address, port and servicePort" } else { "address and port" };
    let parts = interface.map(|text| text.split(':').collect::<Vec<_>>());
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match parts.as_deref() {
        Some([address, port, service_port]) if inbound && is_port(port) && is_port(service_port) => {
            format!("{form}: write address: {}, port: {port}, servicePort: {service_port}", Quoted(address))
        }
        Some([address, port]) if !inbound && is_port(port) => {
            format!("{form}: write address: {}, port: {port}", Quoted(address))
        }
        _ => format!("{form}: write {keys}"),
    }
}
