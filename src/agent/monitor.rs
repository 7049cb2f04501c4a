//! Runs the probes of one dataplane and combines their results into its health.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};
use tracing::info;

use super::{
    probe::{ProbeFailure, ProbeSpec},
    threshold::StateTracker,
};
use crate::model::{Dataplane, Health, HealthState};

/// Longest delay of a first probe. A random delay keeps agents of one host, which often start together,
/// from probing at the same moment forever. It is short because a dataplane is not healthy before its
/// first probe.
const MAX_FIRST_DELAY: Duration = Duration::from_millis(250);

/// All probes of one dataplane.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// Probe of the proxy; without one the proxy counts as ready.
    pub proxy: Option<ProbeSpec>,
    /// The proxy is stated to be not ready, whatever its probe finds.
    pub proxy_not_ready: bool,
    /// How the state of each inbound is determined, in the order of the hello.
    pub inbounds: Vec<InboundProbe>,
}

/// How the state of an inbound is determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundProbe {
    /// The inbound has the state of the proxy, as one without `serviceProbe` in Kuma.
    Proxy,
    /// It is ready if one of its applications is. It has several if its port is bound on several
    /// addresses.
    Applications(Vec<ProbeSpec>),
    /// It is stated to be not ready.
    NotReady,
}

/// Runs probes, one task each, until dropped.
#[derive(Debug)]
pub struct Monitor {
    /// Holds only the latest health: a slow receiver skips intermediate ones.
    health: watch::Sender<Health>,
    _tasks: JoinSet<()>,
}

/// What a probe examines.
#[derive(Debug, Clone, Copy)]
enum Subject {
    Proxy,
    /// The inbound at an index, and the application among those of the inbound.
    Application(usize, usize),
}

/// The latest results of all probes.
#[derive(Debug)]
struct Results {
    proxy: HealthState,
    proxy_not_ready: bool,
    inbounds: Vec<InboundResults>,
}

#[derive(Debug)]
enum InboundResults {
    Proxy,
    Applications(Vec<HealthState>),
    NotReady,
}

impl Monitor {
    /// Starts all probes of a dataplane.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if there is a probe.
    pub fn start(probes: Probes, dataplane: &Dataplane) -> Self {
        let results = Results::new(&probes);
        let health = watch::Sender::new(results.health());
        let results = Arc::new(Mutex::new(results));
        let mut tasks = JoinSet::new();
        let ports = dataplane.inbounds.iter().map(|inbound| inbound.port);
        let mut spawn = |subject, inbound: Option<u16>, probe: ProbeSpec| {
            let (health, results) = (health.clone(), Arc::clone(&results));
            let address = probe.authority();
            let on_change = move |state: HealthState, failure: Option<&ProbeFailure>| {
                log_change(inbound, &address, state, failure);
                // Locked throughout: a later result must not be overtaken by an earlier one.
                let mut results = results.lock();
                results.set(subject, state);
                let now = results.health();
                health.send_if_modified(|health| std::mem::replace(health, now) != now);
            };
            tasks.spawn(run(probe, on_change));
        };
        if let Some(probe) = probes.proxy {
            spawn(Subject::Proxy, None, probe);
        }
        for ((index, inbound), port) in probes.inbounds.into_iter().enumerate().zip(ports) {
            if let InboundProbe::Applications(probes) = inbound {
                for (application, probe) in probes.into_iter().enumerate() {
                    spawn(Subject::Application(index, application), Some(port), probe);
                }
            }
        }
        Self { health, _tasks: tasks }
    }

    /// Returns a receiver of the current health and its changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}

impl Results {
    /// The results before the first probe.
    fn new(probes: &Probes) -> Self {
        let unknown = |inbound: &InboundProbe| match inbound {
            InboundProbe::Proxy => InboundResults::Proxy,
            InboundProbe::Applications(probes) => {
                InboundResults::Applications(vec![HealthState::Unknown; probes.len()])
            }
            InboundProbe::NotReady => InboundResults::NotReady,
        };
        Self {
            proxy: if probes.proxy.is_some() { HealthState::Unknown } else { HealthState::Ready },
            proxy_not_ready: probes.proxy_not_ready,
            inbounds: probes.inbounds.iter().map(unknown).collect(),
        }
    }

    fn set(&mut self, subject: Subject, state: HealthState) {
        match subject {
            Subject::Proxy => self.proxy = state,
            Subject::Application(inbound, application) => {
                if let InboundResults::Applications(states) = &mut self.inbounds[inbound] {
                    states[application] = state;
                }
            }
        }
    }

    fn health(&self) -> Health {
        let proxy = if self.proxy_not_ready { HealthState::NotReady } else { self.proxy };
        let mut health = Health::of_proxy(proxy);
        for (index, inbound) in self.inbounds.iter().enumerate().take(Health::MAX_INBOUNDS) {
            let state = match inbound {
                InboundResults::Proxy => proxy,
                InboundResults::Applications(states) => any_of(states),
                InboundResults::NotReady => HealthState::NotReady,
            };
            health.set_inbound(index, state);
        }
        health
    }
}

/// Ready if one of the states is, and not ready once all of them are known.
fn any_of(states: &[HealthState]) -> HealthState {
    let has = |state| states.contains(&state);
    match (has(HealthState::Ready), has(HealthState::Unknown)) {
        (true, _) => HealthState::Ready,
        (false, true) => HealthState::Unknown,
        (false, false) => HealthState::NotReady,
    }
}

/// Logs a change of the state of an application, or of the proxy if `inbound` is none.
fn log_change(inbound: Option<u16>, address: &str, state: HealthState, failure: Option<&ProbeFailure>) {
    let cause = failure.map(ToString::to_string);
    let cause = cause.as_deref().unwrap_or("the probe passed");
    if let Some(port) = inbound {
        info!(inbound = port, address, ?state, cause, "health changed");
    } else {
        info!(address, ?state, cause, "health of the proxy changed");
    }
}

/// Probes forever, and calls `on_change` with each new state, and the failure that caused it.
async fn run(probe: ProbeSpec, on_change: impl Fn(HealthState, Option<&ProbeFailure>)) {
    let mut tracker = StateTracker::new(probe.thresholds);
    let delay = probe.interval.min(MAX_FIRST_DELAY).mul_f64(fastrand::f64());
    let mut ticks = time::interval_at(Instant::now() + delay, probe.interval);
    // After a probe that took longer than the interval, do not catch up.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let result = probe.attempt().await;
        if let Err(failure) = &result {
            tracing::debug!(host = probe.host, port = probe.port, %failure, "probe failed");
        }
        if let Some(state) = tracker.record(result.is_ok()) {
            on_change(state, result.as_ref().err());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        agent::{probe::ProbeHandler, threshold::Thresholds},
        model::{DataplaneLimits, DataplaneSpec, InboundSpec},
    };
    use HealthState::{NotReady, Ready, Unknown};

    const DEADLINE: Duration = Duration::from_secs(10);

    fn probe(port: u16) -> ProbeSpec {
        ProbeSpec {
            host: "127.0.0.1".into(),
            port,
            handler: ProbeHandler::Tcp,
            interval: Duration::from_millis(10),
            timeout: Duration::from_secs(5),
            thresholds: Thresholds { healthy: 1, unhealthy: 2 },
        }
    }

    async fn wait_for(health: &mut watch::Receiver<Health>, reached: impl Fn(&Health) -> bool) -> Health {
        *time::timeout(DEADLINE, health.wait_for(|health| reached(health))).await.unwrap().unwrap()
    }

    fn start(proxy: Option<ProbeSpec>, inbounds: Vec<InboundProbe>) -> Monitor {
        let inbound = |port| InboundSpec { port, ..InboundSpec::default() };
        let spec = DataplaneSpec {
            mesh: "default".into(),
            name: "web-1".into(),
            inbounds: (80..).take(inbounds.len()).map(inbound).collect(),
            ..DataplaneSpec::default()
        };
        let dataplane = Dataplane::parse(&spec, DataplaneLimits::PROTOCOL).unwrap();
        Monitor::start(Probes { proxy, inbounds, ..Probes::default() }, &dataplane)
    }

    fn probed(port: u16) -> InboundProbe {
        InboundProbe::Applications(vec![probe(port)])
    }

    #[test]
    fn an_inbound_is_ready_if_one_of_its_applications_is() {
        for (states, expected) in [
            (&[Ready, NotReady][..], Ready),
            (&[Unknown, Ready], Ready),
            (&[Unknown, NotReady], Unknown),
            (&[NotReady, NotReady], NotReady),
        ] {
            assert_eq!(any_of(states), expected, "{states:?}");
        }
    }

    #[test]
    fn what_is_stated_to_be_not_ready_is_never_ready() {
        let inbounds = vec![InboundProbe::NotReady, InboundProbe::Proxy];
        let mut results = Results::new(&Probes { inbounds, ..Probes::default() });
        results.set(Subject::Proxy, Ready);
        assert_eq!([0, 1].map(|index| results.health().inbound(index)), [NotReady, Ready]);
        results.proxy_not_ready = true;
        assert_eq!(results.health().proxy, NotReady);
        assert_eq!(results.health().inbound(1), NotReady);
    }

    #[tokio::test]
    async fn without_probes_the_proxy_and_its_inbounds_are_ready_at_once() {
        let monitor = start(None, vec![InboundProbe::Proxy, probed(1), InboundProbe::Proxy]);
        let health = *monitor.health().borrow();
        assert_eq!(health.proxy, Ready);
        assert_eq!([0, 1, 2, 3].map(|index| health.inbound(index)), [Ready, Unknown, Ready, Unknown]);
    }

    #[tokio::test]
    async fn an_inbound_has_the_state_of_its_application() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let monitor = start(None, vec![InboundProbe::Proxy, probed(port)]);
        let mut health = monitor.health();
        wait_for(&mut health, |health| health.inbound(1) == Ready).await;
        drop(listener);
        let down = wait_for(&mut health, |health| health.inbound(1) == NotReady).await;
        assert_eq!((down.proxy, down.inbound(0)), (Ready, Ready));
    }

    #[tokio::test]
    async fn inbounds_without_a_probe_have_the_state_of_the_proxy() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let monitor = start(Some(probe(port)), vec![InboundProbe::Proxy]);
        let mut health = monitor.health();
        assert_eq!(health.borrow().inbound(0), Unknown);
        wait_for(&mut health, |health| health.proxy == Ready && health.inbound(0) == Ready).await;
        drop(listener);
        wait_for(&mut health, |health| health.proxy == NotReady && health.inbound(0) == NotReady).await;
    }

    #[tokio::test]
    async fn dropping_the_monitor_ends_its_probes() {
        let monitor = start(Some(probe(1)), vec![probed(2)]);
        let mut health = monitor.health();
        drop(monitor);
        let ended = async { while health.changed().await.is_ok() {} };
        time::timeout(DEADLINE, ended).await.unwrap();
    }
}
