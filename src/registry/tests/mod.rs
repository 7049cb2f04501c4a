//! The registry through its public methods, without a socket.

mod duplicates;
mod idle;
mod limits;
mod memory;
mod owners;
mod pacing;
mod queries;
mod restore;
mod sessions;
mod throttle;
mod wakeups;
mod watch;

use std::time::Duration;

use futures_util::FutureExt as _;

use super::{
    Accounts, Client, ConnectError, ConnectOptions, Connected, IdlePolicy, LimitReached, Registry,
    RegistrySettings, RetryBehavior, Session,
};
use crate::model::{
    Attempt, Counts, Dataplane, DataplaneLimits, DataplaneSpec, Health, HealthReport, HealthState,
    InboundSpec, WORKLOAD_LABEL, WorkloadKey,
};

pub(super) fn dataplane_in(mesh: &str, name: &str, workload: &str) -> Dataplane {
    let label = (!workload.is_empty()).then(|| (WORKLOAD_LABEL.to_owned(), workload.to_owned()));
    let spec = DataplaneSpec {
        mesh: mesh.into(),
        name: name.into(),
        labels: label.into_iter().collect(),
        inbounds: vec![InboundSpec { port: 80, ..InboundSpec::default() }],
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
}

pub(crate) fn dataplane(name: &str, workload: &str) -> Dataplane {
    dataplane_in("default", name, workload)
}

pub(super) fn key(workload: &str) -> WorkloadKey {
    WorkloadKey::parse("", workload).unwrap()
}

pub(super) fn report(sequence: u64, state: HealthState) -> HealthReport {
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, state);
    HealthReport { sequence, health }
}

/// Without a throttle, so that every report and every connect takes effect at once.
pub(super) fn settings() -> RegistrySettings {
    RegistrySettings { flap_interval: Duration::ZERO, ..RegistrySettings::default() }
}

pub(super) fn registry() -> Registry {
    Registry::new(settings())
}

pub(super) fn connect_with(
    registry: &Registry,
    dataplane: Dataplane,
    options: ConnectOptions,
) -> Result<Connected, ConnectError> {
    registry.connect(dataplane, options).now_or_never().expect("no throttle, no wait")
}

pub(crate) fn connect(registry: &Registry, dataplane: Dataplane) -> Result<Connected, ConnectError> {
    connect_with(registry, dataplane, ConnectOptions::new(Duration::MAX))
}

pub(super) fn join(registry: &Registry, name: &str, workload: &str) -> Session {
    connect(registry, dataplane(name, workload)).unwrap().session
}

/// The agent process `instance` in its attempt `number`.
pub(super) fn agent(instance: u64, number: u32) -> Client {
    Client { attempt: Attempt { instance, number }, peer: None }
}

/// A client of which the port of its connection is known only, such as an Envoy.
pub(super) fn connection(port: u16) -> Client {
    Client { attempt: Attempt::default(), peer: Some(([10, 0, 0, 1], port).into()) }
}

/// Connects the dataplane `a` of the workload `web` for this client.
pub(super) fn join_as(registry: &Registry, client: Client) -> Result<Session, ConnectError> {
    let options = ConnectOptions { client, ..ConnectOptions::new(Duration::MAX) };
    Ok(connect_with(registry, dataplane("a", "web"), options)?.session)
}

/// Connected, healthy and total; none if there is no Workload.
pub(super) fn counts(registry: &Registry, workload: &str) -> Option<(u32, u32, u32)> {
    let Counts { connected, healthy, total } = registry.get(&key(workload)).0?.counts;
    Some((connected, healthy, total))
}

/// The server has restarted, and so many dataplanes have not reconnected.
pub(crate) fn begin_warming(registry: &Registry, missing: usize, limit: Duration) {
    registry.shared.warming.begin(missing, limit);
}

/// One of them has reconnected.
pub(crate) fn reconnected(registry: &Registry) {
    registry.shared.warming.found();
}
