//! Runs the probes of one dataplane and combines their results into its health.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};
use tracing::info;

use super::{probe::ProbeSpec, threshold::StateTracker};
use crate::model::{Health, HealthState};

/// Longest delay of a first probe. A random delay keeps agents of one host, which often start together,
/// from probing at the same moment forever. It is short because a dataplane is not healthy before its
/// first probe.
const MAX_FIRST_DELAY: Duration = Duration::from_millis(250);

/// All probes of one dataplane.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// Probe of the proxy; without one the proxy counts as ready.
    pub proxy: Option<ProbeSpec>,
    /// Probe of each inbound, in the order of the hello. An inbound without a probe has the state of the
    /// proxy, as in Kuma.
    pub inbounds: Vec<Option<ProbeSpec>>,
}

/// Runs probes, one task each, until dropped.
#[derive(Debug)]
pub struct Monitor {
    /// Holds only the latest health: a slow receiver skips intermediate ones.
    health: watch::Sender<Health>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Clone, Copy)]
enum Subject {
    Proxy,
    Inbound(usize),
}

impl Monitor {
    /// Starts all probes.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, if there is a probe.
    pub fn start(probes: Probes) -> Self {
        let unprobed = (0_u32..)
            .zip(&probes.inbounds)
            .filter(|(_, probe)| probe.is_none())
            .fold(0, |bits, (index, _)| bits | 1_u64.checked_shl(index).unwrap_or(0));
        let mut health = Health::default();
        if probes.proxy.is_none() {
            apply(&mut health, Subject::Proxy, HealthState::Ready, unprobed);
        }
        let health = watch::Sender::new(health);
        let mut tasks = JoinSet::new();
        let proxy = probes.proxy.into_iter().map(|probe| (Subject::Proxy, probe));
        let inbounds = probes.inbounds.into_iter().enumerate();
        let inbounds = inbounds.filter_map(|(index, probe)| Some((Subject::Inbound(index), probe?)));
        for (subject, probe) in proxy.chain(inbounds) {
            let health = health.clone();
            tasks.spawn(run(probe, move |state| {
                info!(?subject, ?state, "health changed");
                health.send_modify(|health| apply(health, subject, state, unprobed));
            }));
        }
        Self { health, _tasks: tasks }
    }

    /// Returns a receiver of the current health and its changes.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }
}

fn apply(health: &mut Health, subject: Subject, state: HealthState, unprobed: u64) {
    match subject {
        Subject::Inbound(index) => health.set_inbound(index, state),
        Subject::Proxy => {
            health.proxy = state;
            for index in (0..Health::MAX_INBOUNDS).filter(|index| unprobed >> index & 1 == 1) {
                health.set_inbound(index, state);
            }
        }
    }
}

/// Probes forever, and calls `on_change` with each new state.
async fn run(probe: ProbeSpec, on_change: impl Fn(HealthState)) {
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
            on_change(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::agent::{probe::ProbeHandler, threshold::Thresholds};
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

    #[tokio::test]
    async fn without_probes_the_proxy_and_its_inbounds_are_ready_at_once() {
        let monitor = Monitor::start(Probes { proxy: None, inbounds: vec![None, Some(probe(1)), None] });
        let health = *monitor.health().borrow();
        assert_eq!(health.proxy, Ready);
        assert_eq!([0, 1, 2, 3].map(|index| health.inbound(index)), [Ready, Unknown, Ready, Unknown]);
    }

    #[tokio::test]
    async fn an_inbound_has_the_state_of_its_application() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let monitor = Monitor::start(Probes { proxy: None, inbounds: vec![None, Some(probe(port))] });
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
        let monitor = Monitor::start(Probes { proxy: Some(probe(port)), inbounds: vec![None] });
        let mut health = monitor.health();
        assert_eq!(health.borrow().inbound(0), Unknown);
        wait_for(&mut health, |health| health.proxy == Ready && health.inbound(0) == Ready).await;
        drop(listener);
        wait_for(&mut health, |health| health.proxy == NotReady && health.inbound(0) == NotReady).await;
    }

    #[tokio::test]
    async fn dropping_the_monitor_ends_its_probes() {
        let monitor = Monitor::start(Probes { proxy: Some(probe(1)), inbounds: vec![Some(probe(2))] });
        let mut health = monitor.health();
        drop(monitor);
        let ended = async { while health.changed().await.is_ok() {} };
        time::timeout(DEADLINE, ended).await.unwrap();
    }
}
