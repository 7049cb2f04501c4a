//! What a report costs, by how many dataplanes there are.

use crate::{
    support::{
        reach::Reach,
        rounds::{Figure, Measure, alone, compare},
    },
    vault::{Size, Vault},
};

/// How much of everything.
struct Scale {
    rounds: usize,
    /// Reports in one round.
    reports: usize,
    /// More than the change log holds, so that it is full and drops a change
    /// for each one that it takes.
    warm_up: usize,
}

const FULL: Scale = Scale { rounds: 15, reports: 200_000, warm_up: 200_000 };

const QUICK: Scale = Scale { rounds: 3, reports: 20_000, warm_up: 70_000 };

/// One of each size, from few dataplanes to many.
pub(crate) struct Vaults {
    scale: Scale,
    all: Vec<(Size, Vault)>,
}

impl Vaults {
    pub(crate) fn of(sizes: &[Size], quick: bool) -> anyhow::Result<Self> {
        let scale = if quick { QUICK } else { FULL };
        let mut all = Vec::with_capacity(sizes.len());
        for size in sizes {
            let mut vault = Vault::of(*size)?;
            vault.flip(scale.warm_up)?;
            all.push((*size, vault));
        }
        Ok(Self { scale, all })
    }

    /// Where many are and where few.
    fn ends(&self) -> [usize; 2] {
        [self.all.len() - 1, 0]
    }

    pub(crate) fn flip(&mut self) -> anyhow::Result<Vec<Figure>> {
        compare("flip", self.scale.rounds, self.ends(), |at| {
            let nanos = self.all[at].1.flip(self.scale.reports)?;
            Ok(vec![Measure::new("a report that flips health", "ns", nanos).reach(Reach::RatioAtMost(2.0))])
        })
    }

    pub(crate) fn identical(&mut self) -> anyhow::Result<Vec<Figure>> {
        compare("identical", self.scale.rounds, self.ends(), |at| {
            let nanos = self.all[at].1.repeat(self.scale.reports)?;
            Ok(vec![Measure::new("a report that says the same again", "ns", nanos)])
        })
    }

    pub(crate) fn slope(&mut self) -> anyhow::Result<Vec<Figure>> {
        alone("slope", self.scale.rounds, || {
            let mut slope = Vec::new();
            for (Size(dataplanes), vault) in &mut self.all {
                let (flip, repeat) = (vault.flip(self.scale.reports)?, vault.repeat(self.scale.reports)?);
                slope.push(Measure::new("flips health", "ns", flip).at(*dataplanes));
                slope.push(Measure::new("says the same again", "ns", repeat).at(*dataplanes));
            }
            Ok(slope)
        })
    }
}
