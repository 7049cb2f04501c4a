//! Simulated proxies: real sessions over real connections, without an application behind them.
//!
//! [`demo`] runs a few for `headcount serve --demo`. [`load`] runs many for `headcount simulate`
//! and checks the server's counts:
//!
//! ```text
//!  load: phases, result ──► fleet: proxies, pace ──► agent::observe_session ══► server
//!    ▲                        │ ended sessions, acks                               │
//!    │                        ▼                                                    │
//!    ├───────────────── measurements                                               │
//!    └───────────────── totals ◄──────────── a watch of the counts ────────────────┘
//! ```

pub mod demo;
mod fleet;
pub mod load;
mod measurements;
mod totals;

use std::{collections::BTreeMap, sync::Arc};

use crate::model::{
    Dataplane, DataplaneLimits, DataplaneSpec, Health, HealthState, InboundSpec, Invalid, WORKLOAD_LABEL,
};

/// Port of every simulated application; nothing listens on it.
const PORT: u32 = 8080;

/// A dataplane with one inbound.
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

/// Health of a ready proxy whose only inbound is ready or not.
fn health(inbound_ready: bool) -> Health {
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, if inbound_ready { HealthState::Ready } else { HealthState::NotReady });
    health
}
