//! The registry through its public methods, without a socket.

mod idle;
mod limits;
mod queries;
mod sessions;
mod throttle;
mod watch;

use std::time::Duration;

use futures_util::FutureExt as _;

use super::{
    ConnectOptions, Connected, IdlePolicy, LimitReached, Registry, RegistrySettings, RetryBehavior, Session,
};
use crate::model::{
    Counts, Dataplane, DataplaneLimits, DataplaneSpec, Health, HealthReport, HealthState, InboundSpec,
    WORKLOAD_LABEL, WorkloadKey,
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

pub(super) fn dataplane(name: &str, workload: &str) -> Dataplane {
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
) -> Result<Connected, LimitReached> {
    registry.connect(dataplane, options).now_or_never().expect("no throttle, no wait")
}

pub(crate) fn connect(registry: &Registry, dataplane: Dataplane) -> Result<Connected, LimitReached> {
    connect_with(registry, dataplane, ConnectOptions::new(Duration::MAX))
}

pub(super) fn join(registry: &Registry, name: &str, workload: &str) -> Session {
    connect(registry, dataplane(name, workload)).unwrap().session
}

/// Connected, healthy and total; none if there is no Workload.
pub(super) fn counts(registry: &Registry, workload: &str) -> Option<(u32, u32, u32)> {
    let Counts { connected, healthy, total } = registry.get(&key(workload)).0?.counts;
    Some((connected, healthy, total))
}
