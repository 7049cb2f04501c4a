//! The fixed set of dataplanes, each of which names one of a few workloads.

use std::collections::BTreeMap;

use headcount::model::{
    Dataplane, DataplaneKey, DataplaneLimits, DataplaneSpec, Health, HealthState, InboundSpec, WORKLOAD_LABEL,
};

/// Number of dataplanes, each with an agent on a host of its own.
pub const DATAPLANES: usize = 50;
/// Number of workload names in each namespace.
pub const WORKLOADS: usize = 4;
/// Each namespace has a mesh of its own, so that no name is contested between meshes: the holder of
/// a contested name depends on the order of arrival, which the oracle does not know.
pub const NAMESPACES: [&str; 2] = ["default", "other"];

/// Namespace and name of a Workload.
pub type WorkloadKey = (String, String);

fn namespace(dataplane: usize) -> &'static str {
    NAMESPACES[dataplane % NAMESPACES.len()]
}

/// The Workload that counts this dataplane when it names this workload.
pub fn workload_key(dataplane: usize, workload: usize) -> WorkloadKey {
    (namespace(dataplane).to_owned(), format!("workload-{workload}"))
}

/// The dataplane's name.
pub fn name(dataplane: usize) -> String {
    format!("dataplane-{dataplane}")
}

/// The dataplane's key.
pub fn key(dataplane: usize) -> DataplaneKey {
    self::dataplane(dataplane, 0).key
}

/// The dataplane's number, from its name.
pub fn number(name: &str) -> Option<usize> {
    name.strip_prefix("dataplane-")?.parse().ok()
}

/// Every fifth dataplane is a gateway, which has no inbounds.
fn is_gateway(dataplane: usize) -> bool {
    dataplane % 5 == 4
}

/// What the dataplane's agent registers when it names this workload.
pub fn dataplane(dataplane: usize, workload: usize) -> Dataplane {
    let inbounds = if is_gateway(dataplane) {
        Vec::new()
    } else {
        vec![InboundSpec { port: 8080, ..InboundSpec::default() }]
    };
    let spec = DataplaneSpec {
        mesh: format!("mesh-{}", namespace(dataplane)),
        namespace: namespace(dataplane).into(),
        name: name(dataplane),
        labels: BTreeMap::from([(WORKLOAD_LABEL.into(), workload_key(dataplane, workload).1)]),
        inbounds,
        agent_version: "sim".into(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).expect("a valid dataplane")
}

/// What the dataplane's agent reports when its application is healthy or not.
pub fn health(dataplane: usize, healthy: bool) -> Health {
    let state = if healthy { HealthState::Ready } else { HealthState::NotReady };
    if is_gateway(dataplane) {
        return Health::of_proxy(state);
    }
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, state);
    health
}
