//! The values that the tests draw from: so few names that operations often concern the same
//! dataplane or Workload.

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt as _;
use headcount::{
    model::{
        Attempt, Counts, Dataplane, DataplaneLimits, DataplaneSpec, Environment, Health, HealthReport,
        HealthState, InboundSpec, Namespace, WORKLOAD_LABEL, WorkloadKey, WorkloadName,
    },
    registry::{Client, ConnectError, ConnectOptions, Connected, Registry, RegistrySettings},
};

pub(crate) type Name = &'static str;

/// Namespace and name of a Workload.
pub(crate) type Key = (Name, Name);

pub(crate) const MESHES: [Name; 3] = ["a", "b", "c"];
pub(crate) const NAMESPACES: [Name; 2] = ["x", "y"];
pub(crate) const WORKLOADS: [Name; 2] = ["api", "web"];
pub(crate) const ZONES: [Name; 3] = ["", "east", "west"];

/// Most inbounds of a dataplane.
pub(crate) const INBOUNDS: usize = 2;

/// A dataplane's identity. Its order is the one in which the registry lists dataplanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) mesh: Name,
    pub(crate) namespace: Name,
    pub(crate) name: Name,
}

/// What a dataplane states in its hello, besides its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) workload: Option<Name>,
    /// Empty if it names none.
    pub(crate) zone: Name,
    pub(crate) kubernetes: bool,
    pub(crate) inbounds: usize,
}

impl Statement {
    /// The dataplane of this identity with this statement.
    pub(crate) fn of(self, identity: Identity) -> Dataplane {
        let label = self.workload.map(|name| (WORKLOAD_LABEL.to_owned(), name.to_owned()));
        let inbound = |port| InboundSpec { port, ..InboundSpec::default() };
        let spec = DataplaneSpec {
            mesh: identity.mesh.into(),
            namespace: identity.namespace.into(),
            name: identity.name.into(),
            zone: self.zone.into(),
            environment: if self.kubernetes { Environment::Kubernetes } else { Environment::Universal },
            labels: label.into_iter().collect::<BTreeMap<_, _>>(),
            inbounds: (1..).take(self.inbounds).map(inbound).collect(),
            ..DataplaneSpec::default()
        };
        Dataplane::parse(&spec, DataplaneLimits::default()).expect("the names are valid")
    }

    /// The Workload that it names.
    pub(crate) fn key(self, identity: Identity) -> Option<Key> {
        Some((identity.namespace, self.workload?))
    }
}

/// The health states of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReportedHealth {
    pub(crate) proxy: HealthState,
    pub(crate) inbounds: [HealthState; INBOUNDS],
}

impl ReportedHealth {
    pub(crate) fn report(self, sequence: u64, inbounds: usize) -> HealthReport {
        let mut health = Health::of_proxy(self.proxy);
        for (index, state) in self.inbounds.into_iter().take(inbounds).enumerate() {
            health.set_inbound(index, state);
        }
        HealthReport { sequence, health }
    }

    /// The rule of health: the proxy is ready, and at least one inbound if it has any.
    pub(crate) fn is_healthy(self, inbounds: usize) -> bool {
        let serves = inbounds == 0 || self.inbounds[..inbounds].contains(&HealthState::Ready);
        self.proxy == HealthState::Ready && serves
    }
}

/// Settings without throttle and session rate limit, so that every report and every connect takes effect at
/// once, as in the model.
pub(crate) fn settings() -> RegistrySettings {
    RegistrySettings {
        flap_interval: Duration::ZERO,
        max_session_rate: usize::MAX,
        ..RegistrySettings::default()
    }
}

/// Connects a dataplane at once, whose session may be idle forever.
pub(crate) fn connect(registry: &Registry, dataplane: Dataplane) -> Result<Connected, ConnectError> {
    let options = ConnectOptions::new(Duration::MAX);
    registry.connect(dataplane, options).now_or_never().expect("no throttle, no wait")
}

/// Connects a dataplane in this attempt of its agent.
pub(crate) async fn connect_in_attempt(
    registry: &Registry,
    dataplane: Dataplane,
    number: u32,
) -> Result<Connected, ConnectError> {
    let client = Client { attempt: Attempt { instance: 1, number }, peer: None };
    registry.connect(dataplane, ConnectOptions { client, ..ConnectOptions::new(Duration::MAX) }).await
}

pub(crate) fn workload_key((namespace, name): Key) -> WorkloadKey {
    WorkloadKey {
        namespace: Namespace::parse("namespace", namespace).expect("valid"),
        name: WorkloadName::parse_universal("name", name).expect("valid"),
    }
}

/// The invariant of every message.
pub(crate) fn assert_bounds(counts: Counts) {
    assert!(
        counts.healthy <= counts.connected && counts.connected <= counts.total,
        "not healthy <= connected <= total: {counts:?}"
    );
}
