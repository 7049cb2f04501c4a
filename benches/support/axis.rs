//! Where a value stands along an axis, and which values are named on it.

/// Marks on an axis that begins at zero, about.
const MARKS: f64 = 5.0;

#[derive(Debug)]
pub(crate) struct Axis {
    logarithmic: bool,
    /// The values at its ends, and where those are in the picture.
    least: f64,
    most: f64,
    start: f64,
    end: f64,
}

impl Axis {
    /// From zero to a round number above all values.
    pub(crate) fn from_zero(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let most = values.fold(f64::MIN_POSITIVE, f64::max);
        let step = step(most);
        Self { logarithmic: false, least: 0.0, most: (most / step).ceil() * step, start, end }
    }

    /// From a round number below all values to one above.
    pub(crate) fn logarithmic(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (least, most) = values
            .filter(|value| *value > 0.0)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(l, m), v| (l.min(v), m.max(v)));
        let round = |value: f64, up: bool| {
            let decade = 10_f64.powf(value.log10().floor());
            let near = |times: f64| times * decade;
            if up {
                [1.0, 2.0, 5.0, 10.0].map(near).into_iter().find(|round| *round >= value * 0.999)
            } else {
                [5.0, 2.0, 1.0].map(near).into_iter().find(|round| *round <= value * 1.001)
            }
        };
        let (least, most) = (round(least, false).unwrap_or(least), round(most, true).unwrap_or(most));
        // One value alone needs some room as well.
        Self { logarithmic: true, least, most: if most > least { most } else { least * 10.0 }, start, end }
    }

    /// In the picture.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let part = if self.logarithmic {
            (value / self.least).log10() / (self.most / self.least).log10()
        } else {
            (value - self.least) / (self.most - self.least)
        };
        self.start + part * (self.end - self.start)
    }

    /// The values to name, and how.
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

/// 1, 2 or 5 times a power of ten, so that there are some marks.
fn step(most: f64) -> f64 {
    let decade = 10_f64.powf((most / MARKS).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|times| times * decade);
    steps.into_iter().find(|step| most / step <= MARKS * 1.001).unwrap_or(10.0 * decade)
}

/// As people write it: 20, 1.5, 10k, 1M.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 999_999.0 => (value / 1e6, "M"),
        value if value >= 9_999.0 => (value / 1e3, "k"),
        value => (value, ""),
    };
    // What adding up steps has left over is not meant.
    let rounded = (value * 1e6).round() / 1e6;
    format!("{rounded}{unit}")
}
