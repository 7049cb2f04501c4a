//! Rounds: both sides by turns, so that whatever else the machine does meets both.

use anyhow::Context as _;
use serde::{Serialize, Serializer};

/// One figure of one round of one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// A figure of both sides, over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) subject: Series,
    pub(crate) baseline: Series,
    /// Of the medians: subject to baseline.
    pub(crate) ratio: f64,
}

/// Measures the subject and the baseline by turns; who goes first changes with
/// each round.
pub(crate) fn compare<S: Copy>(
    row: &'static str,
    rounds: usize,
    [subject, baseline]: [S; 2],
    mut measure: impl FnMut(S) -> anyhow::Result<Vec<Measure>>,
) -> anyhow::Result<Vec<Figure>> {
    let mut of_subject = Vec::new();
    let mut of_baseline = Vec::new();
    for round in 1..=rounds {
        eprintln!("{row}: round {round} of {rounds}");
        if round % 2 == 1 {
            of_subject.push(measure(subject)?);
            of_baseline.push(measure(baseline)?);
        } else {
            of_baseline.push(measure(baseline)?);
            of_subject.push(measure(subject)?);
        }
    }
    let names = of_subject.first().context("no round was run")?.clone();
    let figure = |(at, Measure { name, unit, .. }): (usize, Measure)| {
        let series = |rounds: &[Vec<Measure>]| Series::new(rounds.iter().map(|round| round[at].value));
        let (subject, baseline) = (series(&of_subject), series(&of_baseline));
        Figure { row, name, unit, ratio: subject.median() / baseline.median(), subject, baseline }
    };
    Ok(names.into_iter().enumerate().map(figure).collect())
}

/// Values of one figure, smallest first.
#[derive(Debug)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    fn new(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn median(&self) -> f64 {
        let (lower, upper) = ((self.0.len() - 1) / 2, self.0.len() / 2);
        f64::midpoint(self.0[lower], self.0[upper])
    }

    pub(crate) fn least(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Seen<'a> {
            median: f64,
            rounds: &'a [f64],
        }
        Seen { median: self.median(), rounds: &self.0 }.serialize(serializer)
    }
}
