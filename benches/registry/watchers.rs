//! What watchers cost a writer: watchers that do not read, and watchers that wait for changes.

use headcount::{model::Filter, registry::Watcher};
use tokio::runtime::{Builder, Runtime};

use crate::{
    loaded::{LoadedRegistry, Size},
    support::{
        rounds::{Figure, Measure, compare},
        target::Target,
    },
};

pub(crate) const SIDES: [&str; 2] = ["10,000 watchers", "no watcher"];

struct Scale {
    rounds: usize,
    dataplanes: Size,
    watchers: usize,
    flips: usize,
    warm_up: usize,
}

const FULL: Scale =
    Scale { rounds: 15, dataplanes: Size(10_000), watchers: 10_000, flips: 200_000, warm_up: 200_000 };

const QUICK: Scale =
    Scale { rounds: 3, dataplanes: Size(1_000), watchers: 500, flips: 20_000, warm_up: 70_000 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    let mut figures = Vec::new();
    let (mut watched, mut unwatched) = (scale.load()?, scale.load()?);
    let watchers = scale.watchers(&watched)?;
    let mut flip = |watched: &mut LoadedRegistry, name, reach: Option<Target>| {
        compare("watchers", scale.rounds, [true, false], |many| {
            let nanos = if many { watched.flip(scale.flips)? } else { unwatched.flip(scale.flips)? };
            let measure = Measure::new(name, "ns", nanos);
            Ok(vec![reach.map_or(measure, |reach| measure.target(reach))])
        })
    };
    figures.extend(flip(&mut watched, "a flip, watchers don't read", Some(Target::RatioAtMost(1.1)))?);
    let readers = read(watchers)?;
    figures.extend(flip(&mut watched, "a flip, watchers wait for changes", None)?);
    readers.shutdown_background();
    Ok(figures)
}

impl Scale {
    fn load(&self) -> anyhow::Result<LoadedRegistry> {
        let mut loaded = LoadedRegistry::of(self.dataplanes)?;
        loaded.run()?;
        loaded.flip(self.warm_up)?;
        Ok(loaded)
    }

    /// Opens watchers that have read their snapshot.
    fn watchers(&self, loaded: &LoadedRegistry) -> anyhow::Result<Vec<Watcher>> {
        let mut watchers = Vec::with_capacity(self.watchers);
        for _ in 0..self.watchers {
            let mut watcher = loaded.registry.watch(Filter::default(), None)?;
            while watcher.next_now().is_some() {}
            watchers.push(watcher);
        }
        Ok(watchers)
    }
}

/// Lets the watchers read every message, all on one thread.
fn read(watchers: Vec<Watcher>) -> anyhow::Result<Runtime> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    for mut watcher in watchers {
        runtime.spawn(async move {
            loop {
                watcher.next().await;
            }
        });
    }
    Ok(runtime)
}
