//! An axis of a chart: the position of a value, and the ticks.

/// Most ticks of a linear axis.
const MAX_TICKS: f64 = 5.0;

/// A linear or logarithmic axis.
#[derive(Debug)]
pub(crate) struct Axis {
    logarithmic: bool,
    /// The values at its ends, and their positions in the image.
    least: f64,
    most: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// Creates an axis from zero to a round number above all values.
    pub(crate) fn from_zero(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let most = values.fold(f64::MIN_POSITIVE, f64::max);
        let step = step(most);
        Self { logarithmic: false, least: 0.0, most: (most / step).ceil() * step, start, end }
    }

    /// Creates an axis from a round number below all values to one above.
    pub(crate) fn logarithmic(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (least, most) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(l, m), v| (l.min(v), m.max(v)));
        let round = |value: f64, up: bool| {
            let decade = 10_f64.powf(value.log10().floor());
            let scaled = |times: f64| times * decade;
            if up {
                [1.0, 2.0, 5.0, 10.0].map(scaled).into_iter().find(|round| *round >= value * 0.999)
            } else {
                [5.0, 2.0, 1.0].map(scaled).into_iter().find(|round| *round <= value * 1.001)
            }
        };
        let (least, most) = (round(least, false).unwrap_or(least), round(most, true).unwrap_or(most));
        // A single value needs a range too.
        Self { logarithmic: true, least, most: if most > least { most } else { least * 10.0 }, start, end }
    }

    /// The position of a value in the image.
    pub(crate) fn position(&self, value: f64) -> f64 {
        let fraction = if self.logarithmic {
            (value / self.least).log10() / (self.most / self.least).log10()
        } else {
            (value - self.least) / (self.most - self.least)
        };
        self.start + fraction * (self.end - self.start)
    }

    /// The values of the ticks, with their labels.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks = Vec::new();
        if self.logarithmic {
            let mut decade = 10_f64.powf(self.least.log10().floor());
            while decade <= self.most {
                let values = [1.0, 2.0, 5.0].map(|times| times * decade);
                ticks.extend(
                    values
                        .into_iter()
                        .filter(|value| (self.least * 0.999..=self.most * 1.001).contains(value)),
                );
                decade *= 10.0;
            }
        } else {
            let step = step(self.most);
            let mut value = 0.0;
            while value <= self.most * 1.001 {
                ticks.push(value);
                value += step;
            }
        }
        ticks.into_iter().map(|value| (value, short(value))).collect()
    }
}

/// The distance of ticks: 1, 2 or 5 times a power of ten.
fn step(most: f64) -> f64 {
    let decade = 10_f64.powf((most / MAX_TICKS).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|times| times * decade);
    steps.into_iter().find(|step| most / step <= MAX_TICKS * 1.001).unwrap_or(10.0 * decade)
}

/// The short form of a value: 20, 1.5, 10k, 1M.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 999_999.0 => (value / 1e6, "M"),
        value if value >= 9_999.0 => (value / 1e3, "k"),
        value => (value, ""),
    };
    // Removes the rounding error of adding up steps.
    let rounded = (value * 1e6).round() / 1e6;
    format!("{rounded}{unit}")
}
