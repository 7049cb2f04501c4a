//! The load tool: many proxies from one process, and whether the server's
//! numbers are right at the end of each phase.

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
    tally::{self, Sums},
};
use crate::{
    agent::{Session, SessionEnd, SessionEvent},
    model::{Attempt, Health, Invalid},
    proto::WorkloadFilter,
};

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// Sessions that open at a time. A thousand connections at once would measure
/// the kernel's backlog and its retries, which take seconds.
const OPENING: usize = 256;
/// How often flaps are dealt out; the rate decides how many at a time.
const FLAP_EVERY: Duration = Duration::from_millis(10);

/// What to simulate.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// Where.
    pub server: Endpoint,
    /// How many proxies.
    pub proxies: u32,
    /// Of how many workloads.
    pub workloads: u32,
    /// Over how many connections.
    pub connections: u32,
    /// Changes of health per second, of all proxies together.
    pub flaps_per_second: u32,
    /// For how long they flap.
    pub duration: Duration,
    /// How long the numbers may take to become right after each phase.
    pub patience: Duration,
    /// In which mesh.
    pub mesh: String,
    /// In which namespace. Workloads of others in it would be counted as ours.
    pub namespace: String,
}

/// How it went. Times are in seconds, latencies in microseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadReport {
    /// As asked.
    pub proxies: u32,
    /// As asked.
    pub workloads: u32,
    /// As asked.
    pub connections: u32,
    /// Until the watch showed all of them connected and healthy.
    pub connect_seconds: Option<f64>,
    /// Changes of health that were made.
    pub flaps: u64,
    /// Reports that the server acknowledged.
    pub acks: u64,
    /// Half of the acks came within this time.
    pub ack_p50_micros: u64,
    /// 99 of 100 did.
    pub ack_p99_micros: u64,
    /// All did.
    pub ack_max_micros: u64,
    /// From the last flap until the watch showed the right numbers.
    pub settle_seconds: Option<f64>,
    /// From the goodbyes until the watch showed none of them.
    pub leave_seconds: Option<f64>,
    /// Sessions that ended before they should.
    pub lost: u64,
    /// What the first of these was told.
    pub first_loss: Option<String>,
    /// Every phase ended with the right numbers, and no session was lost.
    pub right: bool,
}

/// How far a phase is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is being done.
    pub phase: &'static str,
    /// So much of it.
    pub done: u64,
    /// Out of so much.
    pub total: u64,
}

/// Runs the whole load; `show` is called now and then. Cancelling `stop` skips
/// to the goodbyes.
pub async fn run(
    config: LoadConfig,
    stop: CancellationToken,
    show: impl Fn(Progress),
) -> Result<LoadReport, Invalid> {
    let mut fleet = Fleet::launch(&config)?;
    let all = u64::from(config.proxies);
    let everybody = Sums { connected: all, healthy: all, total: all };
    let connect_seconds = fleet.reach(everybody, "connecting", &stop, &show).await;
    let flaps = fleet.flap(&config, &stop, &show).await;
    let flapped = Sums { healthy: fleet.healthy(), ..everybody };
    let settle_seconds = fleet.reach(flapped, "settling", &stop, &show).await;
    let parting = Instant::now();
    fleet.say_goodbye().await;
    let gone = fleet.reach(Sums::default(), "leaving", &CancellationToken::new(), &show).await;
    let leave_seconds = gone.map(|_| parting.elapsed().as_secs_f64());
    let facts = fleet.facts.lock();
    Ok(LoadReport {
        proxies: config.proxies,
        workloads: config.workloads,
        connections: config.connections,
        connect_seconds,
        flaps,
        acks: facts.acks.len(),
        ack_p50_micros: facts.acks.value_at_quantile(0.5),
        ack_p99_micros: facts.acks.value_at_quantile(0.99),
        ack_max_micros: facts.acks.max(),
        settle_seconds,
        leave_seconds,
        lost: facts.lost,
        first_loss: facts.first_loss.clone(),
        right: facts.lost == 0 && connect_seconds.and(settle_seconds).and(leave_seconds).is_some(),
    })
}

/// All proxies, and what the server says of them.
struct Fleet {
    applications: Vec<watch::Sender<Health>>,
    ready: Vec<bool>,
    leave: CancellationToken,
    facts: Arc<Mutex<Facts>>,
    watched: watch::Receiver<Sums>,
    patience: Duration,
    /// Aborted with the fleet, as is the watch.
    sessions: JoinSet<()>,
    _watch: JoinSet<()>,
}

/// What the sessions met.
struct Facts {
    acks: Histogram<u64>,
    lost: u64,
    first_loss: Option<String>,
}

impl Fleet {
    fn launch(config: &LoadConfig) -> Result<Self, Invalid> {
        let channels: Vec<Channel> = (0..config.connections).map(|_| config.server.connect_lazy()).collect();
        // 1 us to 1 min, three digits: some 100 kB whatever comes.
        let acks =
            Histogram::new_with_bounds(1, 60_000_000, 3).map_err(|e| Invalid::new("acks", e.to_string()))?;
        let facts = Arc::new(Mutex::new(Facts { acks, lost: 0, first_loss: None }));
        let (leave, gate) = (CancellationToken::new(), Arc::new(Semaphore::new(OPENING)));
        let (mut sessions, mut applications) = (JoinSet::new(), Vec::new());
        for (index, channel) in (0..config.proxies).zip(channels.iter().cycle()) {
            let workload = format!("sim-{}", index % config.workloads);
            let name = format!("{workload}-{}", index / config.workloads);
            let (application, health) = watch::channel(health(true));
            applications.push(application);
            let session = Session {
                channel: channel.clone(),
                dataplane: dataplane(&config.mesh, &config.namespace, &workload, name)?,
                attempt: Attempt::default(),
                health,
                leave: leave.clone(),
            };
            sessions.spawn(hold(session, Arc::clone(&gate), Arc::clone(&facts)));
        }
        let filter = WorkloadFilter {
            mesh: config.mesh.clone(),
            namespace: config.namespace.clone(),
            ..WorkloadFilter::default()
        };
        let (sums, watched) = watch::channel(Sums::default());
        let mut watch = JoinSet::new();
        watch.spawn(tally::follow(config.server.connect_lazy(), filter, sums));
        let ready = vec![true; applications.len()];
        Ok(Self {
            applications,
            ready,
            leave,
            facts,
            watched,
            patience: config.patience,
            sessions,
            _watch: watch,
        })
    }

    fn healthy(&self) -> u64 {
        self.ready.iter().map(|ready| u64::from(*ready)).sum()
    }

    /// Ends every session. A watch that has not shown anything yet shows that
    /// none is left, so it is not what to wait for.
    async fn say_goodbye(&mut self) {
        self.leave.cancel();
        while self.sessions.join_next().await.is_some() {}
    }

    /// Waits until the watch shows these sums; the seconds it took.
    async fn reach(
        &mut self,
        wanted: Sums,
        phase: &'static str,
        stop: &CancellationToken,
        show: &impl Fn(Progress),
    ) -> Option<f64> {
        let start = Instant::now();
        let total = u64::try_from(self.applications.len()).unwrap_or(u64::MAX);
        let shown = self.watched.clone();
        let showing = async {
            loop {
                let done = total.saturating_sub(shown.borrow().connected.abs_diff(wanted.connected));
                show(Progress { phase, done, total });
                sleep(PROGRESS_EVERY).await;
            }
        };
        let reached = timeout(self.patience, self.watched.wait_for(|sums| *sums == wanted));
        tokio::select! {
            reached = reached => reached.ok().and_then(Result::ok).map(|_| start.elapsed().as_secs_f64()),
            () = stop.cancelled() => None,
            () = showing => None,
        }
    }

    /// Changes the health of random proxies at the rate asked for.
    async fn flap(&mut self, config: &LoadConfig, stop: &CancellationToken, show: &impl Fn(Progress)) -> u64 {
        let (start, mut made, mut shown) = (Instant::now(), 0, 0);
        let mut ticks = interval(FLAP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let total = config.duration.as_secs();
        while start.elapsed() < config.duration && !stop.is_cancelled() {
            ticks.tick().await;
            let due = start.elapsed().as_micros() * u128::from(config.flaps_per_second) / 1_000_000;
            while u128::from(made) < due {
                let index = fastrand::usize(..self.applications.len());
                self.ready[index] = !self.ready[index];
                self.applications[index].send_replace(health(self.ready[index]));
                made += 1;
            }
            let done = start.elapsed().as_secs();
            if done != shown {
                shown = done;
                show(Progress { phase: "flapping", done, total });
            }
        }
        made
    }
}

/// Holds one session to its end, and notes what it met.
async fn hold(session: Session, gate: Arc<Semaphore>, facts: Arc<Mutex<Facts>>) {
    let mut opening = gate.acquire().await.ok();
    if session.leave.is_cancelled() {
        return;
    }
    let note = |event: SessionEvent<'_>| match event {
        SessionEvent::Welcomed(_) => opening = None,
        SessionEvent::Acked { after } => {
            let micros = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
            facts.lock().acks.saturating_record(micros);
        }
    };
    let end = session.run(note).await;
    let why = match end {
        SessionEnd::Goodbye => return,
        SessionEnd::Drained { reason, .. } => reason,
        SessionEnd::Superseded(status) | SessionEnd::Refused(status) | SessionEnd::Lost(status) => {
            format!("{:?}: {}", status.code(), status.message())
        }
    };
    let mut facts = facts.lock();
    facts.lost += 1;
    facts.first_loss.get_or_insert(why);
}
