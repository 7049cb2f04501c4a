//! Rounds: subject and baseline alternate, so that disturbances of the machine affect both.

use anyhow::Context as _;
use serde::{Serialize, Serializer};

use super::{
    noise::{Noise, quietest},
    target::Target,
};

/// One figure of one round of one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    /// The x value of a point of a chart. Such figures are drawn, not listed in the table.
    x: Option<u32>,
    target: Option<Target>,
}

impl Measure {
    pub(crate) fn new(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, value, x: None, target: None }
    }

    /// Makes it a point of a chart.
    pub(crate) fn at(self, x: u32) -> Self {
        Self { x: Some(x), ..self }
    }

    /// Sets its target.
    pub(crate) fn target(self, target: Target) -> Self {
        Self { target: Some(target), ..self }
    }
}

/// A figure of both sides over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) row: &'static str,
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) x: Option<u32>,
    pub(crate) subject: Series,
    /// None if the row has no baseline.
    pub(crate) baseline: Option<Series>,
    /// The subject's median divided by the baseline's.
    pub(crate) ratio: Option<f64>,
    pub(crate) target: Option<Target>,
    pub(crate) reached: Option<bool>,
    pub(crate) noise: Noise,
}

impl Figure {
    fn new(
        row: &'static str,
        measure: Measure,
        subject: Series,
        baseline: Option<Series>,
        noise: Noise,
    ) -> Self {
        let Measure { name, unit, x, target, .. } = measure;
        let baseline_median = baseline.as_ref().map(Series::median);
        let ratio = baseline_median.map(|baseline| subject.median() / baseline);
        let reached = target.map(|target| target.is_reached(subject.median(), baseline_median));
        Self { row, name, unit, x, subject, baseline, ratio, target, reached, noise }
    }
}

/// Measures subject and baseline in each round; which of them is first alternates from round to round.
/// Noisy rounds are repeated.
pub(crate) fn compare<S: Copy>(
    row: &'static str,
    rounds: usize,
    [subject, baseline]: [S; 2],
    mut measure: impl FnMut(S) -> anyhow::Result<Vec<Measure>>,
) -> anyhow::Result<Vec<Figure>> {
    let (rounds, noise) = quietest(row, rounds, |round| {
        let mut measure = |side, name| measure(side).inspect(|measures| print(row, name, measures));
        if round % 2 == 1 {
            let subject = measure(subject, "subject")?;
            Ok((subject, measure(baseline, "baseline")?))
        } else {
            let baseline = measure(baseline, "baseline")?;
            Ok((measure(subject, "subject")?, baseline))
        }
    })?;
    let (subject_rounds, baseline_rounds): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    let measures = subject_rounds.first().context("no round was run")?.iter().enumerate();
    let figure = |(at, measure): (usize, &Measure)| {
        let baseline = Some(Series::of(&baseline_rounds, at));
        Figure::new(row, *measure, Series::of(&subject_rounds, at), baseline, noise)
    };
    Ok(measures.map(figure).collect())
}

/// Measures a subject that has no baseline. Noisy rounds are repeated.
pub(crate) fn measure_alone(
    row: &'static str,
    rounds: usize,
    mut measure: impl FnMut() -> anyhow::Result<Vec<Measure>>,
) -> anyhow::Result<Vec<Figure>> {
    let (values, noise) =
        quietest(row, rounds, |_| measure().inspect(|measures| print(row, "subject", measures)))?;
    let measures = values.first().context("no round was run")?.iter().enumerate();
    Ok(measures
        .map(|(at, measure)| Figure::new(row, *measure, Series::of(&values, at), None, noise))
        .collect())
}

/// Prints the figures of a round to stderr, so that they are not lost if a later one fails.
fn print(row: &str, side: &str, measures: &[Measure]) {
    for Measure { name, unit, value, x, .. } in measures {
        let x = x.map(|x| format!(" at {x}")).unwrap_or_default();
        eprintln!("{row}: {side}: {name}{x}: {value:.3} {unit}");
    }
}

/// The values of one figure in all rounds, sorted.
#[derive(Debug)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Collects the measure at this index of each round.
    fn of(rounds: &[Vec<Measure>], at: usize) -> Self {
        let mut values: Vec<_> = rounds.iter().map(|round| round[at].value).collect();
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn median(&self) -> f64 {
        let (lower, upper) = ((self.0.len() - 1) / 2, self.0.len() / 2);
        f64::midpoint(self.0[lower], self.0[upper])
    }

    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

impl Serialize for Series {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Values<'a> {
            median: f64,
            rounds: &'a [f64],
        }
        Values { median: self.median(), rounds: &self.0 }.serialize(serializer)
    }
}
