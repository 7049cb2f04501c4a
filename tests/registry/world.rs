//! The words of a small world, in which everything collides.

use std::{collections::BTreeMap, time::Duration};

use futures_util::FutureExt as _;
use headcount::{
    model::{
        Counts, Dataplane, DataplaneLimits, DataplaneSpec, Environment, Health, HealthReport, HealthState,
        InboundSpec, Namespace, WORKLOAD_LABEL, WorkloadKey, WorkloadName,
    },
    registry::{ConnectOptions, Connected, LimitReached, Registry, RegistrySettings},
};

pub(crate) type Name = &'static str;

/// A workload: its namespace, and its name.
pub(crate) type Key = (Name, Name);

pub(crate) const MESHES: [Name; 3] = ["a", "b", "c"];
pub(crate) const NAMESPACES: [Name; 2] = ["x", "y"];
pub(crate) const WORKLOADS: [Name; 2] = ["api", "web"];
pub(crate) const ZONES: [Name; 3] = ["", "east", "west"];

/// Inbounds of a dataplane at most.
pub(crate) const INBOUNDS: usize = 2;

/// A dataplane's identity, in the order in which the registry lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who {
    pub(crate) mesh: Name,
    pub(crate) namespace: Name,
    pub(crate) name: Name,
}

/// What a dataplane says of itself in a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) workload: Option<Name>,
    /// Empty if it names none.
    pub(crate) zone: Name,
    pub(crate) kubernetes: bool,
    pub(crate) inbounds: usize,
}

impl Statement {
    pub(crate) fn of(self, who: Who) -> Dataplane {
        let label = self.workload.map(|name| (WORKLOAD_LABEL.to_owned(), name.to_owned()));
        let inbound = |port| InboundSpec { port, ..InboundSpec::default() };
        let spec = DataplaneSpec {
            mesh: who.mesh.into(),
            namespace: who.namespace.into(),
            name: who.name.into(),
            zone: self.zone.into(),
            environment: if self.kubernetes { Environment::Kubernetes } else { Environment::Universal },
            labels: label.into_iter().collect::<BTreeMap<_, _>>(),
            inbounds: (1..).take(self.inbounds).map(inbound).collect(),
            ..DataplaneSpec::default()
        };
        Dataplane::parse(&spec, DataplaneLimits::default()).expect("the world's names are valid")
    }

    pub(crate) fn key(self, who: Who) -> Option<Key> {
        Some((who.namespace, self.workload?))
    }
}

/// What a report says of a dataplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pulse {
    pub(crate) proxy: HealthState,
    pub(crate) inbounds: [HealthState; INBOUNDS],
}

impl Pulse {
    pub(crate) fn report(self, sequence: u64, inbounds: usize) -> HealthReport {
        let mut health = Health::of_proxy(self.proxy);
        for (index, state) in self.inbounds.into_iter().take(inbounds).enumerate() {
            health.set_inbound(index, state);
        }
        HealthReport { sequence, health }
    }

    /// The rule of health as the design states it.
    pub(crate) fn is_healthy(self, inbounds: usize) -> bool {
        let serves = inbounds == 0 || self.inbounds[..inbounds].contains(&HealthState::Ready);
        self.proxy == HealthState::Ready && serves
    }
}

/// Without a throttle and a rate limit, so that every report and every connect takes effect at once.
pub(crate) fn settings() -> RegistrySettings {
    RegistrySettings {
        flap_interval: Duration::ZERO,
        max_session_rate: usize::MAX,
        ..RegistrySettings::default()
    }
}

/// Connects a dataplane whose session may be idle forever.
pub(crate) fn connect(registry: &Registry, dataplane: Dataplane) -> Result<Connected, LimitReached> {
    let options = ConnectOptions::new(Duration::MAX);
    registry.connect(dataplane, options).now_or_never().expect("no throttle, no wait")
}

pub(crate) fn workload_key((namespace, name): Key) -> WorkloadKey {
    WorkloadKey {
        namespace: Namespace::parse("namespace", namespace).expect("valid"),
        name: WorkloadName::parse_universal("name", name).expect("valid"),
    }
}

/// The promise of every message ever sent.
pub(crate) fn assert_bounds(counts: Counts) {
    assert!(
        counts.healthy <= counts.connected && counts.connected <= counts.total,
        "not healthy <= connected <= total: {counts:?}"
    );
}
