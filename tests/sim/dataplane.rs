//! Who there is: a fixed set of dataplanes, of which each names one of a few
//! workloads.

use std::collections::BTreeMap;

use headcount::model::{
    Dataplane, DataplaneLimits, DataplaneSpec, Health, HealthState, InboundSpec, WORKLOAD_LABEL,
};

/// Dataplanes, each with an agent on a host of its own.
pub const DATAPLANES: usize = 50;
/// Names of workloads in each namespace.
pub const WORKLOADS: usize = 4;
/// One mesh each: which mesh gets a contested name depends on who was first,
/// which a test that lets chance decide that can't know.
pub const NAMESPACES: [&str; 2] = ["default", "other"];

/// A workload, by namespace and name.
pub type Place = (String, String);

/// Namespace of a dataplane.
fn namespace(dataplane: usize) -> &'static str {
    NAMESPACES[dataplane % NAMESPACES.len()]
}

/// Where a dataplane is counted that names this workload.
pub fn place(dataplane: usize, workload: usize) -> Place {
    (namespace(dataplane).to_owned(), format!("workload-{workload}"))
}

/// Its name.
pub fn name(dataplane: usize) -> String {
    format!("dataplane-{dataplane}")
}

/// Its number.
pub fn number(name: &str) -> Option<usize> {
    name.strip_prefix("dataplane-")?.parse().ok()
}

/// Every fifth is a gateway, which has no inbounds.
fn is_gateway(dataplane: usize) -> bool {
    dataplane % 5 == 4
}

/// A dataplane that names a workload.
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
        labels: BTreeMap::from([(WORKLOAD_LABEL.into(), place(dataplane, workload).1)]),
        inbounds,
        agent_version: "sim".into(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).expect("a dataplane")
}

/// Its health, as it is told.
pub fn health(dataplane: usize, healthy: bool) -> Health {
    let state = if healthy { HealthState::Ready } else { HealthState::NotReady };
    if is_gateway(dataplane) {
        return Health::of_proxy(state);
    }
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, state);
    health
}
