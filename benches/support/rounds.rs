//! Rounds: both sides by turns, so that whatever else the machine does meets both.

use anyhow::Context as _;
use serde::{Serialize, Serializer};

use super::reach::Reach;

/// One figure of one round of one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    /// Where on a slope; such a figure is drawn, not told.
    at: Option<u32>,
    reach: Option<Reach>,
}

impl Measure {
    pub(crate) fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, value, at: None, reach: None }
    }

    /// A point of a slope.
    pub(crate) fn at(self, at: u32) -> Self {
        Self { at: Some(at), ..self }
    }

    /// What it has to reach.
    pub(crate) fn reach(self, reach: Reach) -> Self {
        Self { reach: Some(reach), ..self }
    }
}

/// A figure of both sides, over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<u32>,
    pub(crate) subject: Series,
    /// None where there is nothing to stand beside.
    pub(crate) baseline: Option<Series>,
    /// Of the medians: subject to baseline.
    pub(crate) ratio: Option<f64>,
    pub(crate) reach: Option<Reach>,
    pub(crate) reached: Option<bool>,
}

impl Figure {
    fn new(row: &'static str, measure: Measure, subject: Series, baseline: Option<Series>) -> Self {
        let Measure { name, unit, at, reach, .. } = measure;
        let ratio = baseline.as_ref().map(|baseline| subject.median() / baseline.median());
        let reached = reach.map(|reach| reach.is_reached(subject.median(), ratio));
        Self { row, name, unit, at, subject, baseline, ratio, reach, reached }
    }
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
    let measures = of_subject.first().context("no round was run")?.iter().enumerate();
    let figure = |(at, measure): (usize, &Measure)| {
        Figure::new(row, *measure, Series::of(&of_subject, at), Some(Series::of(&of_baseline, at)))
    };
    Ok(measures.map(figure).collect())
}

/// Measures the subject, which has nothing to stand beside.
pub(crate) fn alone(
    row: &'static str,
    rounds: usize,
    mut measure: impl FnMut() -> anyhow::Result<Vec<Measure>>,
) -> anyhow::Result<Vec<Figure>> {
    let mut seen = Vec::new();
    for round in 1..=rounds {
        eprintln!("{row}: round {round} of {rounds}");
        seen.push(measure()?);
    }
    let measures = seen.first().context("no round was run")?.iter().enumerate();
    Ok(measures.map(|(at, measure)| Figure::new(row, *measure, Series::of(&seen, at), None)).collect())
}

/// Values of one figure, smallest first.
#[derive(Debug)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Of the measure at a place in each round.
    fn of(rounds: &[Vec<Measure>], at: usize) -> Self {
        let mut values: Vec<_> = rounds.iter().map(|round| round[at].value).collect();
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
