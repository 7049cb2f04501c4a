//! The proxies of a load test.

use std::{convert::Infallible, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    dataplane, health,
    load::{LoadConfig, Progress},
    measurements::{Measurements, reason},
    totals::{self, Totals},
};
use crate::{
    agent::{AgentEvent, SessionEnd, SessionEvent, observe_session},
    model::{Dataplane, Health, Invalid},
    net::client::Connection,
    proto::WorkloadFilter,
};

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// First attempts that are made at the same time. More would wait in the listen backlog of a server that
/// accepts more slowly than the proxies start, and repeat their SYN after a second.
const CONCURRENT_OPENS: usize = 256;
/// How often health changes are made; the rate decides how many each time.
const FLAP_INTERVAL: Duration = Duration::from_millis(10);

/// All proxies, and the totals that the server reports for them.
pub(super) struct Fleet {
    proxies: Vec<Handle>,
    pub(super) measurements: Arc<Mutex<Measurements>>,
    /// None until the watch has received its first message.
    totals: watch::Receiver<Option<Totals>>,
    pace: Pace,
    settle_timeout: Duration,
    /// Aborted when the fleet is dropped, like the watch.
    sessions: JoinSet<()>,
    _watch: JoinSet<()>,
}

/// What the load test changes of a proxy.
struct Handle {
    health: watch::Sender<Health>,
    /// Whether the application is ready.
    ready: bool,
    leave: CancellationToken,
}

/// A number of proxies per second.
#[derive(Debug, Clone, Copy)]
struct Pace(f64);

impl Pace {
    /// When it is the turn of a proxy, if that of the first is now.
    fn turn(self, now: Instant, index: usize) -> Instant {
        // Far below 2^52 proxies.
        #[expect(clippy::cast_precision_loss, reason = "exact for every possible number of proxies")]
        let index = index as f64;
        now + Duration::from_secs_f64(index / self.0)
    }
}

impl Fleet {
    /// Starts all proxies, each at its turn.
    pub(super) fn start(config: &LoadConfig) -> Result<Self, Invalid> {
        let connections: Vec<Connection> =
            (0..config.connections).map(|_| config.server.connect_lazy()).collect();
        let measurements = Arc::new(Mutex::new(Measurements::new()?));
        let opens = Arc::new(Semaphore::new(CONCURRENT_OPENS));
        let (pace, now) = (Pace(config.connect_rate.into()), Instant::now());
        let (mut sessions, mut proxies) = (JoinSet::new(), Vec::new());
        for (index, connection) in (0..config.proxies).zip(connections.iter().cycle()) {
            let workload = format!("sim-{}", index % config.workloads);
            let name = format!("{workload}-{}", index / config.workloads);
            let (sender, health) = watch::channel(health(true));
            let leave = CancellationToken::new();
            let proxy = Proxy {
                connection: connection.clone(),
                dataplane: dataplane(&config.mesh, &config.namespace, &workload, name)?,
                health,
                leave: leave.clone(),
                opens: Arc::clone(&opens),
                measurements: Arc::clone(&measurements),
            };
            sessions.spawn(proxy.run(pace.turn(now, proxies.len())));
            proxies.push(Handle { health: sender, ready: true, leave });
        }
        let filter = WorkloadFilter {
            mesh: config.mesh.clone(),
            namespace: config.namespace.clone(),
            ..WorkloadFilter::default()
        };
        let (sender, totals) = watch::channel(None);
        let mut watch = JoinSet::new();
        watch.spawn(totals::follow(config.server.connect_lazy(), filter, sender));
        Ok(Self {
            proxies,
            measurements,
            totals,
            pace,
            settle_timeout: config.settle_timeout,
            sessions,
            _watch: watch,
        })
    }

    /// The number of proxies whose application is ready.
    pub(super) fn ready_count(&self) -> u64 {
        self.proxies.iter().map(|proxy| u64::from(proxy.ready)).sum()
    }

    fn len(&self) -> u64 {
        u64::try_from(self.proxies.len()).unwrap_or(u64::MAX)
    }

    /// Waits until the watch reports `expected`, and returns the seconds that it took; none if the
    /// totals come no closer to that for the settle timeout.
    pub(super) async fn wait_for(
        &mut self,
        expected: Totals,
        phase: &'static str,
        stop: &CancellationToken,
        on_progress: &impl Fn(Progress),
    ) -> Option<f64> {
        let (start, total) = (Instant::now(), self.len());
        let (mut closest, mut deadline) = (u64::MAX, start + self.settle_timeout);
        let mut ticks = interval(PROGRESS_INTERVAL);
        loop {
            let totals = *self.totals.borrow_and_update();
            let distance = totals.map_or(u64::MAX, |totals| totals.distance(expected));
            if distance == 0 {
                return Some(start.elapsed().as_secs_f64());
            }
            if distance < closest {
                closest = distance;
                deadline = Instant::now() + self.settle_timeout;
            }
            tokio::select! {
                changed = self.totals.changed() => changed.ok()?,
                _ = ticks.tick() => {
                    let connected = totals.unwrap_or_default().connected;
                    let done = total.saturating_sub(connected.abs_diff(expected.connected));
                    on_progress(Progress { phase, done, total });
                }
                () = sleep_until(deadline) => return None,
                () = stop.cancelled() => return None,
            }
        }
    }

    /// Changes the health of random proxies at the configured rate, and returns the number of
    /// changes.
    pub(super) async fn flap(
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
                let index = fastrand::usize(..self.proxies.len());
                self.proxies[index].flap();
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

    /// Ends every session with a goodbye, each at its turn, and waits until all have ended.
    pub(super) async fn leave(&mut self, on_progress: &impl Fn(Progress)) {
        let (now, total) = (Instant::now(), self.len());
        let mut ticks = interval(PROGRESS_INTERVAL);
        let mut next = 0;
        loop {
            tokio::select! {
                () = sleep_until(self.pace.turn(now, next)), if next < self.proxies.len() => {
                    self.proxies[next].leave.cancel();
                    next += 1;
                }
                ended = self.sessions.join_next() => if ended.is_none() {
                    return;
                },
                _ = ticks.tick() => {
                    let open = u64::try_from(self.sessions.len()).unwrap_or(u64::MAX);
                    on_progress(Progress { phase: "leaving", done: total.saturating_sub(open), total });
                }
            }
        }
    }
}

impl Handle {
    fn flap(&mut self) {
        self.ready = !self.ready;
        self.health.send_replace(health(self.ready));
    }
}

/// A simulated proxy: the real agent without probes.
struct Proxy {
    connection: Connection,
    dataplane: Arc<Dataplane>,
    health: watch::Receiver<Health>,
    leave: CancellationToken,
    opens: Arc<Semaphore>,
    measurements: Arc<Mutex<Measurements>>,
}

impl Proxy {
    /// Keeps a session open from `turn` until `leave` is cancelled. The first attempt holds a permit of
    /// `opens`.
    async fn run(self, turn: Instant) {
        let Self { connection, dataplane, health, leave, opens, measurements } = self;
        tokio::select! {
            () = sleep_until(turn) => {}
            () = leave.cancelled() => return,
        }
        let (mut permit, mut open) = (opens.acquire().await.ok(), false);
        let connect = || std::future::ready(Ok::<_, Infallible>(connection.clone()));
        let observe = |event: AgentEvent<'_>| match event {
            AgentEvent::Session(SessionEvent::Welcomed(_)) => (permit, open) = (None, true),
            AgentEvent::Session(SessionEvent::Acked { after }) => measurements.lock().acked(after),
            AgentEvent::Retry { end, .. } => {
                permit = None;
                measurements.lock().ended(end, std::mem::take(&mut open));
            }
        };
        match observe_session(connect, dataplane, health, leave, observe).await {
            Ok(SessionEnd::Goodbye) => {}
            Ok(end) if open => measurements.lock().lost(reason(&end)),
            // It was told to leave between two attempts.
            Ok(_) => {}
            Err(error) => measurements.lock().lost(error.to_string()),
        }
    }
}
