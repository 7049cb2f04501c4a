//! The load test of `headcount simulate`: many proxies from one process, and a check after each
//! phase that the server's counts are right.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{
    dataplane, health,
    totals::{self, Totals},
};
use crate::{
    agent::{Session, SessionEnd, SessionEvent},
    model::{Attempt, Health, Invalid},
    proto::WorkloadFilter,
};

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Sessions that open at the same time. A thousand at once would measure the kernel's listen
/// backlog and its retries, which take seconds.
const CONCURRENT_OPENS: usize = 256;
/// How often health changes are made; the rate decides how many each time.
const FLAP_INTERVAL: Duration = Duration::from_millis(10);

/// Settings of a load test.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// The server under test.
    pub server: Endpoint,
    /// Number of proxies.
    pub proxies: u32,
    /// Number of workloads; proxies are spread evenly over them.
    pub workloads: u32,
    /// Number of connections; proxies are spread evenly over them.
    pub connections: u32,
    /// Health changes per second, of all proxies together.
    pub flaps_per_second: u32,
    /// Duration of the phase with health changes.
    pub duration: Duration,
    /// Longest time until the counts are right after each phase.
    pub settle_timeout: Duration,
    /// Mesh of the proxies.
    pub mesh: String,
    /// Namespace of the proxies. All dataplanes of this mesh and namespace are counted, so there
    /// must be no others.
    pub namespace: String,
}

/// The result of a load test. Durations are in seconds, latencies in microseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// From the configuration.
    pub proxies: u32,
    /// From the configuration.
    pub workloads: u32,
    /// From the configuration.
    pub connections: u32,
    /// Time until the watch reported all proxies connected and healthy; none if it never did.
    pub connect_seconds: Option<f64>,
    /// Health changes made.
    pub flaps: u64,
    /// Health reports that the server acknowledged.
    pub acks: u64,
    /// Median time from a report to its ack.
    pub ack_p50_micros: u64,
    /// 99th percentile of the time from a report to its ack.
    pub ack_p99_micros: u64,
    /// Longest time from a report to its ack.
    pub ack_max_micros: u64,
    /// Time from the last health change until the watch reported the right counts; none if it
    /// never did.
    pub settle_seconds: Option<f64>,
    /// Time from the goodbyes until the watch reported no proxies; none if it never did.
    pub leave_seconds: Option<f64>,
    /// Sessions that ended early.
    pub lost: u64,
    /// Why the first of them ended.
    pub first_loss: Option<String>,
    /// Whether the counts were right after every phase and no session was lost.
    pub right: bool,
}

/// Progress of a phase.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Name of the phase.
    pub phase: &'static str,
    /// Completed part of `total`.
    pub done: u64,
    /// Proxies, or seconds of the flapping phase.
    pub total: u64,
}

/// Runs all phases of a load test and reports their progress. Cancelling `stop` skips to the last
/// phase, in which all proxies disconnect.
///
/// # Errors
///
/// If a dataplane is invalid, for example because of the mesh or namespace.
pub async fn run(
    config: LoadConfig,
    stop: CancellationToken,
    on_progress: impl Fn(Progress),
) -> Result<LoadReport, Invalid> {
    let mut fleet = Fleet::start(&config)?;
    let proxies = u64::from(config.proxies);
    let all_healthy = Totals { connected: proxies, healthy: proxies, total: proxies };
    let connect_seconds = fleet.wait_for(all_healthy, "connecting", &stop, &on_progress).await;
    let flaps = fleet.flap(&config, &stop, &on_progress).await;
    let after_flaps = Totals { healthy: fleet.ready_count(), ..all_healthy };
    let settle_seconds = fleet.wait_for(after_flaps, "settling", &stop, &on_progress).await;
    let leave_start = Instant::now();
    fleet.leave().await;
    let none_left =
        fleet.wait_for(Totals::default(), "leaving", &CancellationToken::new(), &on_progress).await;
    let leave_seconds = none_left.map(|_| leave_start.elapsed().as_secs_f64());
    let measurements = fleet.measurements.lock();
    Ok(LoadReport {
        proxies: config.proxies,
        workloads: config.workloads,
        connections: config.connections,
        connect_seconds,
        flaps,
        acks: measurements.acks.len(),
        ack_p50_micros: measurements.acks.value_at_quantile(0.5),
        ack_p99_micros: measurements.acks.value_at_quantile(0.99),
        ack_max_micros: measurements.acks.max(),
        settle_seconds,
        leave_seconds,
        lost: measurements.lost,
        first_loss: measurements.first_loss.clone(),
        right: measurements.lost == 0 && connect_seconds.and(settle_seconds).and(leave_seconds).is_some(),
    })
}

/// All proxies, and the totals that the server reports for them.
struct Fleet {
    health_senders: Vec<watch::Sender<Health>>,
    /// Whether each proxy's application is ready.
    ready: Vec<bool>,
    leave: CancellationToken,
    measurements: Arc<Mutex<Measurements>>,
    totals: watch::Receiver<Totals>,
    settle_timeout: Duration,
    /// Aborted when the fleet is dropped, like the watch.
    sessions: JoinSet<()>,
    _watch: JoinSet<()>,
}

/// Measurements of all sessions.
struct Measurements {
    acks: Histogram<u64>,
    lost: u64,
    first_loss: Option<String>,
}

impl Fleet {
    fn start(config: &LoadConfig) -> Result<Self, Invalid> {
        let channels: Vec<Channel> = (0..config.connections).map(|_| config.server.connect_lazy()).collect();
        // 1 us to 1 min with three significant digits: about 100 kB, for any number of acks.
        let acks =
            Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| Invalid::new("acks", e.to_string()))?;
        let measurements = Arc::new(Mutex::new(Measurements { acks, lost: 0, first_loss: None }));
        let (leave, opens) = (CancellationToken::new(), Arc::new(Semaphore::new(CONCURRENT_OPENS)));
        let (mut sessions, mut health_senders) = (JoinSet::new(), Vec::new());
        for (index, channel) in (0..config.proxies).zip(channels.iter().cycle()) {
            let workload = format!("sim-{}", index % config.workloads);
            let name = format!("{workload}-{}", index / config.workloads);
            let (health_sender, health) = watch::channel(health(true));
            health_senders.push(health_sender);
            let session = Session {
                channel: channel.clone(),
                dataplane: dataplane(&config.mesh, &config.namespace, &workload, name)?,
                attempt: Attempt::default(),
                health,
                leave: leave.clone(),
            };
            sessions.spawn(run_session(session, Arc::clone(&opens), Arc::clone(&measurements)));
        }
        let filter = WorkloadFilter {
            mesh: config.mesh.clone(),
            namespace: config.namespace.clone(),
            ..WorkloadFilter::default()
        };
        let (sender, totals) = watch::channel(Totals::default());
        let mut watch = JoinSet::new();
        watch.spawn(totals::follow(config.server.connect_lazy(), filter, sender));
        let ready = vec![true; health_senders.len()];
        Ok(Self {
            health_senders,
            ready,
            leave,
            measurements,
            totals,
            settle_timeout: config.settle_timeout,
            sessions,
            _watch: watch,
        })
    }

    fn ready_count(&self) -> u64 {
        self.ready.iter().map(|ready| u64::from(*ready)).sum()
    }

    /// Ends every session with a goodbye, and waits for the sessions rather than the watch: a
    /// watch that has received nothing yet already has totals of 0.
    async fn leave(&mut self) {
        self.leave.cancel();
        while self.sessions.join_next().await.is_some() {}
    }

    /// Waits until the watch reports `expected`, and returns the seconds that it took.
    async fn wait_for(
        &mut self,
        expected: Totals,
        phase: &'static str,
        stop: &CancellationToken,
        on_progress: &impl Fn(Progress),
    ) -> Option<f64> {
        let start = Instant::now();
        let total = u64::try_from(self.health_senders.len()).unwrap_or(u64::MAX);
        let current = self.totals.clone();
        let report_progress = async {
            loop {
                let done = total.saturating_sub(current.borrow().connected.abs_diff(expected.connected));
                on_progress(Progress { phase, done, total });
                sleep(PROGRESS_INTERVAL).await;
            }
        };
        let reached = timeout(self.settle_timeout, self.totals.wait_for(|totals| *totals == expected));
        tokio::select! {
            reached = reached => reached.ok().and_then(Result::ok).map(|_| start.elapsed().as_secs_f64()),
            () = stop.cancelled() => None,
            () = report_progress => None,
        }
    }

    /// Changes the health of random proxies at the configured rate, and returns the number of
    /// changes.
    async fn flap(
        &mut self,
        config: &LoadConfig,
        stop: &CancellationToken,
        on_progress: &impl Fn(Progress),
    ) -> u64 {
        let (start, mut made, mut reported) = (Instant::now(), 0, 0);
        let mut ticks = interval(FLAP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let total = config.duration.as_secs();
        while start.elapsed() < config.duration && !stop.is_cancelled() {
            ticks.tick().await;
            let due = start.elapsed().as_micros() * u128::from(config.flaps_per_second) / 1_000_000;
            while u128::from(made) < due {
                let index = fastrand::usize(..self.health_senders.len());
                self.ready[index] = !self.ready[index];
                self.health_senders[index].send_replace(health(self.ready[index]));
                made += 1;
            }
            let done = start.elapsed().as_secs();
            if done != reported {
                reported = done;
                on_progress(Progress { phase: "flapping", done, total });
            }
        }
        made
    }
}

/// Runs one session to its end. A permit of `opens` is held until the welcome.
async fn run_session(session: Session, opens: Arc<Semaphore>, measurements: Arc<Mutex<Measurements>>) {
    let mut permit = opens.acquire().await.ok();
    if session.leave.is_cancelled() {
        return;
    }
    let on_event = |event: SessionEvent<'_>| match event {
        SessionEvent::Welcomed(_) => permit = None,
        SessionEvent::Acked { after } => {
            let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            measurements.lock().acks.saturating_record(micros);
        }
    };
    let end = session.run(on_event).await;
    let reason = match end {
        SessionEnd::Goodbye => return,
        SessionEnd::Drained { reason, .. } => reason,
        SessionEnd::Superseded(status) | SessionEnd::Refused(status) | SessionEnd::Lost(status) => {
            format!("{:?}: {}", status.code(), status.message())
        }
    };
    let mut measurements = measurements.lock();
    measurements.lost += 1;
    measurements.first_loss.get_or_insert(reason);
}
