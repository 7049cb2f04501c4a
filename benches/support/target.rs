//! Targets of figures, and whether they are reached.

use serde::Serialize;

/// A bound for the subject's median, or for the ratio of the medians of subject and baseline.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// A bound for the subject, in the figure's unit.
    AtMost(f64),
}

impl Target {
    pub(crate) fn is_reached(self, subject: f64, ratio: Option<f64>) -> bool {
        self.shortfall(subject, ratio) <= 0.0
    }

    /// The target as text.
    pub(crate) fn text(self, unit: &str) -> String {
        match self {
            Self::RatioAtMost(most) => format!("ratio <= {most:.2}"),
            Self::RatioAtLeast(least) => format!("ratio >= {least:.2}"),
            Self::AtMost(most) => format!("<= {most} {unit}"),
        }
    }

    /// Whether it is reached, as text; with the shortfall if it is not.
    pub(crate) fn verdict(self, subject: f64, ratio: Option<f64>) -> String {
        match self.shortfall(subject, ratio) {
            shortfall if shortfall <= 0.0 => "yes".to_owned(),
            shortfall => format!("**no**, by {:.0} %", (shortfall * 100.0).ceil()),
        }
    }

    /// By which fraction of the bound the target is missed; zero or less if it is reached.
    fn shortfall(self, subject: f64, ratio: Option<f64>) -> f64 {
        // Without a baseline no ratio is reached.
        let ratio = ratio.unwrap_or(f64::INFINITY);
        match self {
            Self::RatioAtMost(most) => ratio / most - 1.0,
            Self::RatioAtLeast(least) => 1.0 - ratio / least,
            Self::AtMost(most) => subject / most - 1.0,
        }
    }
}
