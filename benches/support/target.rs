//! Targets of figures, and whether they are reached.

use serde::Serialize;

/// A bound for the subject's median, or for its ratio to the median of the baseline, or the difference.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// A bound for the subject, in the figure's unit.
    AtMost(f64),
    /// A bound for how much more the subject is than the baseline, in the figure's unit.
    MoreByAtMost(f64),
}

impl Target {
    pub(crate) fn is_reached(self, subject: f64, baseline: Option<f64>) -> bool {
        self.shortfall(subject, baseline) <= 0.0
    }

    /// The target as text.
    pub(crate) fn text(self, unit: &str) -> String {
        match self {
            Self::RatioAtMost(most) => format!("ratio <= {most:.2}"),
            Self::RatioAtLeast(least) => format!("ratio >= {least:.2}"),
            Self::AtMost(most) => format!("<= {most} {unit}"),
            Self::MoreByAtMost(most) => format!("<= {most} {unit} more"),
        }
    }

    /// Whether it is reached, as text; with the shortfall if it is not.
    pub(crate) fn verdict(self, subject: f64, baseline: Option<f64>) -> String {
        match self.shortfall(subject, baseline) {
            shortfall if shortfall <= 0.0 => "yes".to_owned(),
            shortfall => format!("**no**, by {:.0} %", (shortfall * 100.0).ceil()),
        }
    }

    /// By which fraction of the bound the target is missed; zero or less if it is reached.
    fn shortfall(self, subject: f64, baseline: Option<f64>) -> f64 {
        // Without a baseline nothing that is compared with it is reached.
        let baseline = baseline.unwrap_or(f64::NAN);
        let ratio = subject / baseline;
        match self {
            Self::RatioAtMost(most) => ratio / most - 1.0,
            Self::RatioAtLeast(least) => 1.0 - ratio / least,
            Self::AtMost(most) => subject / most - 1.0,
            Self::MoreByAtMost(most) => (subject - baseline) / most - 1.0,
        }
    }
}
