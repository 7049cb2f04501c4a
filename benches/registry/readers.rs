//! Whether reading everything delays a writer.

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
    loaded::{LoadedRegistry, per},
    support::{
        percentile::per_mille,
        rounds::{Figure, Measure, compare},
        target::Target,
    },
};

pub(crate) const SIDES: [&str; 2] = ["everything is read without pause", "no reader"];

/// Time between flips: 100,000 per second, more than a server with a few cores can receive.
const PERIOD: Duration = Duration::from_micros(10);
/// Workloads of one page: the server's maximum.
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
    let mut loaded = LoadedRegistry::of_workloads(scale.workloads)?;
    loaded.run()?;
    compare("readers", scale.rounds, [true, false], |read| {
        let reader = read.then(|| Reader::start(&loaded.registry, scale.workloads)).transpose()?;
        let nanos = loaded.flip_each(scale.flips, PERIOD)?;
        if let Some(reader) = reader {
            reader.stop()?;
        }
        let micros = |mille| per(per_mille(&nanos, mille), 1_000);
        Ok(vec![
            Measure::new("a flip among 10,000 Workloads, p99.9", "µs", micros(999)?),
            Measure::new("the longest flip", "µs", micros(1_000)?).target(Target::AtMost(1_000.0)),
        ])
    })
}

/// A thread that reads everything, again and again.
struct Reader {
    stop: Arc<AtomicBool>,
    passes: Arc<AtomicUsize>,
    thread: thread::JoinHandle<anyhow::Result<()>>,
}

impl Reader {
    fn start(registry: &Registry, workloads: usize) -> anyhow::Result<Self> {
        let (stop, passes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let metrics = Metrics::new(registry)?;
        let registry = registry.clone();
        let thread = thread::spawn({
            let (stop, passes) = (Arc::clone(&stop), Arc::clone(&passes));
            move || {
                while !stop.load(Relaxed) {
                    read_all(&registry, &metrics, workloads)?;
                    passes.fetch_add(1, Relaxed);
                }
                Ok(())
            }
        });
        Ok(Self { stop, passes, thread })
    }

    fn stop(self) -> anyhow::Result<()> {
        self.stop.store(true, Relaxed);
        self.thread.join().ok().context("the reader panicked")??;
        ensure!(self.passes.load(Relaxed) > 0, "the reader did not complete a single pass");
        Ok(())
    }
}

/// Encodes the metrics, takes a snapshot, and lists all pages.
fn read_all(registry: &Registry, metrics: &Metrics, workloads: usize) -> anyhow::Result<()> {
    ensure!(metrics.encode()?.lines().count() > workloads, "the scrape is short");
    ensure!(registry.snapshot().workloads.len() == workloads, "the snapshot is short");
    let mut listed = 0;
    let (mut at, mut after) = (None, None);
    loop {
        // More changes than the log holds: a client would start the listing again.
        let Ok(page) = registry.list(&Filter::default(), PAGE, at, after.as_ref()) else {
            return Ok(());
        };
        listed += page.workloads.len();
        (at, after) = (Some(page.revision), page.next_after);
        if after.is_none() {
            break;
        }
    }
    ensure!(listed == workloads, "the listing is short");
    Ok(())
}
