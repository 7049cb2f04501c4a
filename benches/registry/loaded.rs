//! A registry full of connected dataplanes, and the reports that are timed on it.

use std::{
    fmt,
    hint::{self, black_box},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use futures_util::FutureExt as _;
use headcount::{
    model::{Dataplane, Health, HealthReport, HealthState},
    registry::{ConnectOptions, Registry, RegistrySettings, Session},
};

use crate::support::{process::RunQueueDelay, typical};

/// The number of dataplanes in a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u32);

/// From the fewest to the most.
pub(crate) const FULL: [Size; 5] =
    [Size(10_000), Size(30_000), Size(100_000), Size(300_000), Size(1_000_000)];

pub(crate) const QUICK: [Size; 5] = [Size(1_000), Size(2_000), Size(5_000), Size(10_000), Size(20_000)];

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(dataplanes) = *self;
        let dataplanes = dataplanes as usize;
        let workloads = dataplanes / typical::PER_WORKLOAD;
        write!(f, "{} dataplanes in {} workloads", grouped(dataplanes), grouped(workloads))
    }
}

/// The number with a comma between groups of three digits.
fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1_000), number % 1_000),
    }
}

/// A registry with connected dataplanes. The sessions are used in random order, so that the processor's
/// caches hold a dataplane as often as their number lets them.
pub(crate) struct LoadedRegistry {
    pub(crate) registry: Registry,
    sessions: Vec<Session>,
    flips: usize,
}

impl LoadedRegistry {
    /// Creates one with this many dataplanes, 100 in each workload.
    pub(crate) fn of(Size(dataplanes): Size) -> anyhow::Result<Self> {
        Self::fill(0..dataplanes as usize)
    }

    /// Creates one with this many workloads of one dataplane.
    pub(crate) fn of_workloads(workloads: usize) -> anyhow::Result<Self> {
        Self::fill((0..workloads).map(|index| index * typical::PER_WORKLOAD))
    }

    fn fill(numbers: impl ExactSizeIterator<Item = usize>) -> anyhow::Result<Self> {
        let mut sessions = Vec::with_capacity(numbers.len());
        let registry = fill(numbers, &mut sessions)?;
        fastrand::Rng::with_seed(1).shuffle(&mut sessions);
        Ok(Self { registry, sessions, flips: 0 })
    }

    /// Runs the registry's own task on a thread, until the process ends.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        let registry = self.registry.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::spawn(move || runtime.block_on(async move { registry.run().await }));
        Ok(())
    }

    /// Sends reports that flip the health, each by the next session; returns the nanoseconds per report.
    pub(crate) fn flip(&mut self, times: usize) -> anyhow::Result<f64> {
        let revision = self.registry.head();
        let reports = reports();
        let start = Instant::now();
        for _ in 0..times {
            self.flip_next(&reports);
        }
        let nanos = per(start.elapsed().as_nanos(), times)?;
        self.ensure_visible(revision, times)?;
        Ok(nanos)
    }

    /// Like [`flip`](Self::flip), with one report per period; returns the nanoseconds of each report,
    /// sorted. Time that the thread spent in the scheduler's run queue is not counted.
    pub(crate) fn flip_each(&mut self, times: usize, period: Duration) -> anyhow::Result<Vec<u64>> {
        let revision = self.registry.head();
        let reports = reports();
        let mut nanos = Vec::with_capacity(times);
        let run_queue_delay = RunQueueDelay::of_this_thread()?;
        let mut due = Instant::now();
        for _ in 0..times {
            due += period;
            // The period is shorter than any sleep.
            while Instant::now() < due {
                hint::spin_loop();
            }
            let waited_before = run_queue_delay.so_far()?;
            let start = Instant::now();
            self.flip_next(&reports);
            let took = start.elapsed();
            let waited = run_queue_delay.so_far()?.saturating_sub(waited_before);
            nanos.push(u64::try_from(took.saturating_sub(waited).as_nanos())?);
        }
        self.ensure_visible(revision, times)?;
        nanos.sort_unstable();
        Ok(nanos)
    }

    fn flip_next(&mut self, [ready, not_ready]: &[HealthReport; 2]) {
        let (pass, at) = (self.flips / self.sessions.len(), self.flips % self.sessions.len());
        self.sessions[at].report(if pass.is_multiple_of(2) { *ready } else { *not_ready });
        self.flips += 1;
    }

    fn ensure_visible(&self, since: u64, times: usize) -> anyhow::Result<()> {
        let visible = self.registry.head() - since;
        ensure!(visible == times as u64, "{visible} of {times} flips were visible");
        Ok(())
    }

    /// Like [`flip`](Self::flip), with reports that equal the last one of their session.
    pub(crate) fn repeat(&mut self, times: usize) -> anyhow::Result<f64> {
        let revision = self.registry.head();
        let [ready, not_ready] = reports();
        // Sessions before the index where flipping stopped are one flip ahead of the others.
        let (pass, stopped) = (self.flips / self.sessions.len(), self.flips % self.sessions.len());
        let start = Instant::now();
        for turn in 0..times {
            let at = turn % self.sessions.len();
            let flips = pass + usize::from(at < stopped);
            self.sessions[at].report(if flips % 2 == 1 { ready } else { not_ready });
        }
        let nanos = per(start.elapsed().as_nanos(), times)?;
        ensure!(self.registry.head() == revision, "a report without a change was visible");
        Ok(nanos)
    }
}

fn connect(registry: &Registry, dataplane: Dataplane) -> anyhow::Result<Session> {
    let connected = registry.connect(dataplane, ConnectOptions::new(Duration::MAX)).now_or_never();
    Ok(connected.context("no throttle, no wait")??.session)
}

/// Creates a registry with these dataplanes, all connected; the sessions are appended to the list.
pub(crate) fn fill(
    numbers: impl ExactSizeIterator<Item = usize>,
    sessions: &mut Vec<Session>,
) -> anyhow::Result<Registry> {
    let dataplanes = numbers.len();
    let registry = Registry::new(RegistrySettings {
        max_dataplanes: dataplanes,
        max_registered_bytes: usize::MAX,
        max_registered_bytes_per_mesh: usize::MAX,
        max_sessions: dataplanes,
        max_sessions_per_mesh: dataplanes,
        max_session_rate: usize::MAX,
        // Every report takes effect at once.
        flap_interval: Duration::ZERO,
        ..RegistrySettings::default()
    });
    for number in numbers {
        sessions.push(connect(&registry, typical::dataplane(number)?)?);
    }
    Ok(registry)
}

/// A report that is ready and one that is not, opaque to the optimizer.
fn reports() -> [HealthReport; 2] {
    [HealthState::Ready, HealthState::NotReady].map(|state| {
        let mut health = Health::of_proxy(HealthState::Ready);
        health.set_inbound(0, state);
        black_box(HealthReport { sequence: 1, health })
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
pub(crate) fn per(amount: impl TryInto<u64>, count: usize) -> anyhow::Result<f64> {
    let amount = amount.try_into().ok().context("too much to count")?;
    Ok(amount as f64 / count as f64)
}
