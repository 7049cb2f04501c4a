//! The health of one dataplane, kept up to date by its probes.

use std::time::Duration;

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant, MissedTickBehavior},
};
use tracing::info;

use super::{probe::ProbeSpec, threshold::Verdict};
use crate::model::{Health, HealthState};

/// First attempts spread over this time, so that the agents of one host, which
/// often start together, do not probe in step for ever. Short, because until
/// then nobody counts the proxy as healthy.
const FIRST_WITHIN: Duration = Duration::from_millis(250);

/// All probes of one dataplane.
#[derive(Debug, Clone, Default)]
pub struct Probes {
    /// Of the proxy. Without it the proxy is ready.
    pub proxy: Option<ProbeSpec>,
    /// Of each inbound, by its place in the hello. One without a probe is as
    /// ready as the proxy: Kuma's HDS gives it no check of its own, and only an
    /// explicit state could make it not ready.
    pub inbounds: Vec<Option<ProbeSpec>>,
}

/// Runs probes, one task each, until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    /// Holds only the newest state: who reports slowly skips the ones between.
    health: watch::Sender<Health>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Clone, Copy)]
enum Subject {
    Proxy,
    Inbound(usize),
}

impl Monitor {
    /// Starts all probes. Call it within a runtime.
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

    /// The health now, and its changes.
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

/// Probes for ever; tells each new state.
async fn run(probe: ProbeSpec, tell: impl Fn(HealthState)) {
    let mut verdict = Verdict::new(probe.thresholds);
    let first = probe.interval.min(FIRST_WITHIN).mul_f64(fastrand::f64());
    let mut turns = time::interval_at(Instant::now() + first, probe.interval);
    // After an attempt longer than the interval: no burst to catch up.
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let result = probe.attempt().await;
        if let Err(failure) = &result {
            tracing::debug!(host = probe.host, port = probe.port, %failure, "probe failed");
        }
        if let Some(state) = verdict.record(result.is_ok()) {
            tell(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::agent::{probe::Check, threshold::Thresholds};
    use HealthState::{NotReady, Ready, Unknown};

    const DEADLINE: Duration = Duration::from_secs(10);

    fn probe(port: u16) -> ProbeSpec {
        ProbeSpec {
            host: "127.0.0.1".into(),
            port,
            check: Check::Tcp,
            interval: Duration::from_millis(10),
            timeout: Duration::from_secs(5),
            thresholds: Thresholds { healthy: 1, unhealthy: 2 },
        }
    }

    async fn until(health: &mut watch::Receiver<Health>, reached: impl Fn(&Health) -> bool) -> Health {
        *time::timeout(DEADLINE, health.wait_for(|health| reached(health))).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn what_nobody_probes_is_ready_at_once() {
        let monitor = Monitor::start(Probes { proxy: None, inbounds: vec![None, Some(probe(1)), None] });
        let health = *monitor.health().borrow();
        assert_eq!(health.proxy, Ready);
        assert_eq!([0, 1, 2, 3].map(|index| health.inbound(index)), [Ready, Unknown, Ready, Unknown]);
    }

    #[tokio::test]
    async fn an_inbound_follows_its_application() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let monitor = Monitor::start(Probes { proxy: None, inbounds: vec![None, Some(probe(port))] });
        let mut health = monitor.health();
        until(&mut health, |health| health.inbound(1) == Ready).await;
        drop(listener);
        let down = until(&mut health, |health| health.inbound(1) == NotReady).await;
        assert_eq!((down.proxy, down.inbound(0)), (Ready, Ready));
    }

    #[tokio::test]
    async fn inbounds_without_a_probe_follow_the_proxy() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let monitor = Monitor::start(Probes { proxy: Some(probe(port)), inbounds: vec![None] });
        let mut health = monitor.health();
        assert_eq!(health.borrow().inbound(0), Unknown);
        until(&mut health, |health| health.proxy == Ready && health.inbound(0) == Ready).await;
        drop(listener);
        until(&mut health, |health| health.proxy == NotReady && health.inbound(0) == NotReady).await;
    }

    #[tokio::test]
    async fn probes_end_with_their_monitor() {
        let monitor = Monitor::start(Probes { proxy: Some(probe(1)), inbounds: vec![Some(probe(2))] });
        let mut health = monitor.health();
        drop(monitor);
        let ended = async { while health.changed().await.is_ok() {} };
        time::timeout(DEADLINE, ended).await.unwrap();
    }
}
