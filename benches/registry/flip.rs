//! The cost of a report, with many dataplanes in the registry and with few.

use crate::{
    loaded::{LoadedRegistry, Size},
    support::{
        rounds::{Figure, Measure, compare, measure_alone},
        target::Target,
    },
};

struct Scale {
    rounds: usize,
    /// Reports in one round.
    reports: usize,
    /// More flips than the change log holds, so that it is full and evicts a change for each new one.
    warm_up: usize,
}

const FULL: Scale = Scale { rounds: 15, reports: 200_000, warm_up: 200_000 };

const QUICK: Scale = Scale { rounds: 3, reports: 20_000, warm_up: 70_000 };

/// Loaded registries, from the fewest dataplanes to the most.
pub(crate) struct LoadedRegistries {
    scale: Scale,
    all: Vec<(Size, LoadedRegistry)>,
}

impl LoadedRegistries {
    pub(crate) fn of(sizes: &[Size], quick: bool) -> anyhow::Result<Self> {
        let scale = if quick { QUICK } else { FULL };
        let mut all = Vec::with_capacity(sizes.len());
        for size in sizes {
            let mut loaded = LoadedRegistry::of(*size)?;
            loaded.flip(scale.warm_up)?;
            all.push((*size, loaded));
        }
        Ok(Self { scale, all })
    }

    /// The indexes of the largest, which is the subject, and of the smallest.
    fn largest_and_smallest(&self) -> [usize; 2] {
        [self.all.len() - 1, 0]
    }

    pub(crate) fn flip(&mut self) -> anyhow::Result<Vec<Figure>> {
        compare("flip", self.scale.rounds, self.largest_and_smallest(), |at| {
            let nanos = self.all[at].1.flip(self.scale.reports)?;
            Ok(vec![Measure::new("a report that flips health", "ns", nanos).target(Target::AtMost(2_000.0))])
        })
    }

    pub(crate) fn identical(&mut self) -> anyhow::Result<Vec<Figure>> {
        compare("identical", self.scale.rounds, self.largest_and_smallest(), |at| {
            let nanos = self.all[at].1.repeat(self.scale.reports)?;
            Ok(vec![Measure::new("an identical report", "ns", nanos)])
        })
    }

    pub(crate) fn slope(&mut self) -> anyhow::Result<Vec<Figure>> {
        measure_alone("slope", self.scale.rounds, || {
            let mut slope = Vec::new();
            for (Size(dataplanes), loaded) in &mut self.all {
                let (flip, repeat) = (loaded.flip(self.scale.reports)?, loaded.repeat(self.scale.reports)?);
                slope.push(Measure::new("flips health", "ns", flip).at(*dataplanes));
                slope.push(Measure::new("changes nothing", "ns", repeat).at(*dataplanes));
            }
            Ok(slope)
        })
    }
}
