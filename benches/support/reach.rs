//! What a figure has to reach, and whether it does.

use serde::Serialize;

/// A bar for a median, or for the ratio of two.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reach {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    /// In the figure's unit.
    AtMost(f64),
}

impl Reach {
    pub(crate) fn is_reached(self, subject: f64, ratio: Option<f64>) -> bool {
        self.missing(subject, ratio) <= 0.0
    }

    /// As the table has it.
    pub(crate) fn bar(self, unit: &str) -> String {
        match self {
            Self::RatioAtMost(most) => format!("ratio <= {most:.2}"),
            Self::RatioAtLeast(least) => format!("ratio >= {least:.2}"),
            Self::AtMost(most) => format!("<= {most} {unit}"),
        }
    }

    /// Whether it is, and else by how much it is not.
    pub(crate) fn verdict(self, subject: f64, ratio: Option<f64>) -> String {
        match self.missing(subject, ratio) {
            missing if missing <= 0.0 => "yes".to_owned(),
            missing => format!("**no**, by {:.0} %", (missing * 100.0).ceil()),
        }
    }

    /// By which part of the bar it is missed; not more than zero if it is not.
    fn missing(self, subject: f64, ratio: Option<f64>) -> f64 {
        // What can't be compared reaches nothing.
        let ratio = ratio.unwrap_or(f64::INFINITY);
        match self {
            Self::RatioAtMost(most) => ratio / most - 1.0,
            Self::RatioAtLeast(least) => 1.0 - ratio / least,
            Self::AtMost(most) => subject / most - 1.0,
        }
    }
}
