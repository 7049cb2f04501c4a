//! How much other load disturbs the machine.

use std::{
    fmt, fs,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

/// Iterations of the loop: about 10 ms.
const ITERATIONS: u64 = 10_000_000;
/// Loops that determine the fastest time at the start.
const CALIBRATION: usize = 10;
/// A round with more noise than this is repeated.
const NOISY: f64 = 0.15;

/// The fastest time of the loop in this process, in nanoseconds.
static FASTEST: AtomicU64 = AtomicU64::new(u64::MAX);

/// The noise of the rounds of a row. A round's noise is the larger of two fractions: by how much a loop
/// that occupies every core took longer than its fastest run, before or after the round; and the processor
/// time that the hypervisor took away during the round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Noise {
    /// The median of the rounds that count.
    pub(crate) median: f64,
    /// Rounds that were run again because of their noise.
    pub(crate) repeated: usize,
    /// Noisy rounds that count nevertheless, because the most repetitions were reached.
    pub(crate) kept: usize,
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, repeated, kept } = self;
        write!(f, "{:.0} %", median * 100.0)?;
        if *repeated > 0 {
            write!(f, ", {repeated} repeated")?;
        }
        if *kept > 0 {
            write!(f, ", {kept} noisy")?;
        }
        Ok(())
    }
}

/// Runs this many rounds, and up to half as many again if some are noisy; returns the quietest.
pub(crate) fn quietest<T>(
    row: &str,
    rounds: usize,
    mut run: impl FnMut(usize) -> anyhow::Result<T>,
) -> anyhow::Result<(Vec<T>, Noise)> {
    let mut results: Vec<(f64, T)> = Vec::new();
    let is_quiet = |(noise, _): &&(f64, T)| *noise <= NOISY;
    let most = rounds + rounds / 2;
    while results.len() < most && results.iter().filter(is_quiet).count() < rounds {
        let round = results.len() + 1;
        eprintln!("{row}: round {round} of {}", rounds.max(round));
        let start = Start::now();
        let result = run(round)?;
        results.push((start.noise(), result));
    }
    let run = results.len();
    results.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    results.truncate(rounds);
    let kept = results.len() - results.iter().filter(is_quiet).count();
    let median = results[results.len() / 2].0;
    let noise = Noise { median, repeated: run - results.len(), kept };
    Ok((results.into_iter().map(|(_, result)| result).collect(), noise))
}

/// The start of a round.
struct Start {
    loop_before: Duration,
    at: Instant,
    stolen: Duration,
}

impl Start {
    fn now() -> Self {
        if FASTEST.load(Relaxed) == u64::MAX {
            for _ in 0..CALIBRATION {
                loop_on_every_core();
            }
        }
        Self { loop_before: loop_on_every_core(), at: Instant::now(), stolen: stolen_time() }
    }

    fn noise(self) -> f64 {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let available = self.at.elapsed() * u32::try_from(cores).unwrap_or(u32::MAX);
        let stolen = stolen_time().saturating_sub(self.stolen).div_duration_f64(available);
        let slowest = self.loop_before.max(loop_on_every_core());
        let fastest = Duration::from_nanos(FASTEST.load(Relaxed));
        stolen.max(slowest.div_duration_f64(fastest) - 1.0)
    }
}

/// The time of the slowest of the loops on all cores.
fn loop_on_every_core() -> Duration {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let time = || {
        let start = Instant::now();
        let mut state = black_box(1_u64);
        for _ in 0..ITERATIONS {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        }
        black_box(state);
        start.elapsed()
    };
    let slowest = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(time)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).max()
    });
    let slowest = slowest.unwrap_or_default();
    FASTEST.fetch_min(u64::try_from(slowest.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    slowest
}

/// The processor time that the hypervisor gave to others; zero if it is unknown.
fn stolen_time() -> Duration {
    /// The kernel reports hundredths of a second.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.split_whitespace().nth(8).and_then(|steal| steal.parse().ok());
    TICK * ticks.unwrap_or(0)
}
