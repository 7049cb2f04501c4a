//! Whether a writer notices that everything is read.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use headcount::{model::Filter, registry::Registry, telemetry::metrics::Metrics};

use crate::{
    support::{
        percentile::per_mille,
        reach::Reach,
        rounds::{Figure, Measure, compare},
    },
    vault::{Vault, per},
};

pub(crate) const SIDES: [&str; 2] = ["all is read without pause", "nobody reads"];

/// Between flips: a hundred thousand in a second, which is more than a server
/// of a few cores can take from its sockets.
const PERIOD: Duration = Duration::from_micros(10);
/// Workloads of one page: the most that the server gives.
const PAGE: usize = 1_000;

struct Scale {
    rounds: usize,
    workloads: usize,
    flips: usize,
}

const FULL: Scale = Scale { rounds: 7, workloads: 10_000, flips: 100_000 };

const QUICK: Scale = Scale { rounds: 3, workloads: 200, flips: 10_000 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    let mut vault = Vault::of_workloads(scale.workloads)?;
    vault.run()?;
    compare("readers", scale.rounds, [true, false], |read| {
        let reader = read.then(|| Reader::start(&vault.registry, scale.workloads)).transpose()?;
        let nanos = vault.flip_each(scale.flips, PERIOD)?;
        if let Some(reader) = reader {
            reader.stop()?;
        }
        let micros = |mille| per(per_mille(&nanos, mille), 1_000);
        Ok(vec![
            Measure::new("a flip among 10,000 Workloads, p99.9", "µs", micros(999)?),
            Measure::new("the longest flip", "µs", micros(1_000)?).reach(Reach::AtMost(1_000.0)),
        ])
    })
}

/// Reads everything, again and again, on a thread of its own.
struct Reader {
    over: Arc<AtomicBool>,
    passes: Arc<AtomicUsize>,
    thread: thread::JoinHandle<anyhow::Result<()>>,
}

impl Reader {
    fn start(registry: &Registry, workloads: usize) -> anyhow::Result<Self> {
        let (over, passes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let metrics = Metrics::new(registry)?;
        let registry = registry.clone();
        let thread = thread::spawn({
            let (over, passes) = (Arc::clone(&over), Arc::clone(&passes));
            move || {
                while !over.load(Relaxed) {
                    read_all(&registry, &metrics, workloads)?;
                    passes.fetch_add(1, Relaxed);
                }
                Ok(())
            }
        });
        Ok(Self { over, passes, thread })
    }

    fn stop(self) -> anyhow::Result<()> {
        self.over.store(true, Relaxed);
        self.thread.join().ok().context("the reader panicked")??;
        ensure!(self.passes.load(Relaxed) > 0, "it was too slow to disturb anybody");
        Ok(())
    }
}

/// A scrape, a snapshot, and a listing.
fn read_all(registry: &Registry, metrics: &Metrics, workloads: usize) -> anyhow::Result<()> {
    ensure!(metrics.encode()?.lines().count() > workloads, "the scrape is short");
    ensure!(registry.snapshot().workloads.len() == workloads, "the snapshot is short");
    let mut told = 0;
    let (mut at, mut after) = (None, None);
    loop {
        // More than the log holds may have changed; then a client begins anew.
        let Ok(page) = registry.list(&Filter::default(), PAGE, at, after.as_ref()) else {
            return Ok(());
        };
        told += page.workloads.len();
        (at, after) = (Some(page.revision), page.next_after);
        if after.is_none() {
            break;
        }
    }
    ensure!(told == workloads, "the listing is short");
    Ok(())
}
