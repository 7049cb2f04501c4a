//! Simulated proxies: real sessions over real sockets, with nothing behind them.
//!
//! [`demo`] shows a newcomer what happens; [`load`] measures what a server can
//! bear and checks that it counts right.

pub mod demo;
pub mod load;
mod tally;

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{Dataplane, DataplaneLimits, DataplaneSpec, InboundSpec, Invalid, WORKLOAD_LABEL};

/// The port that every simulated application pretends to have.
const PORT: u32 = 8080;

/// A dataplane of a workload, with one inbound.
fn dataplane(mesh: &str, namespace: &str, workload: &str, name: String) -> Result<Arc<Dataplane>, Invalid> {
    let spec = DataplaneSpec {
        mesh: mesh.to_owned(),
        namespace: namespace.to_owned(),
        name,
        labels: BTreeMap::from([(WORKLOAD_LABEL.to_owned(), workload.to_owned())]),
        address: "192.0.2.1".to_owned(),
        inbounds: vec![InboundSpec { port: PORT, name: "http".to_owned(), ..InboundSpec::default() }],
        agent_version: concat!("simulate/", env!("CARGO_PKG_VERSION")).to_owned(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).map(Arc::new)
}

/// The health of a proxy whose only inbound is ready or not.
fn health(ready: bool) -> crate::model::Health {
    use crate::model::{Health, HealthState};
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, if ready { HealthState::Ready } else { HealthState::NotReady });
    health
}
