//! Metrics of the verification of Kubernetes `ServiceAccount` tokens.

use prometheus::{IntCounterVec, Opts, core::Collector};

/// Counts fetches of the cluster's keys, and reviews of tokens.
#[derive(Debug, Clone)]
pub struct ServiceAccountMetrics {
    fetches: IntCounterVec,
    reviews: IntCounterVec,
}

/// How the review of a token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewOutcome {
    /// kube-apiserver accepts the token.
    Accepted,
    /// It does not.
    Rejected,
    /// It did not answer.
    Failed,
    /// It was not asked: too many tokens wait.
    Dropped,
}

impl ReviewOutcome {
    const ALL: [Self; 4] = [Self::Accepted, Self::Rejected, Self::Failed, Self::Dropped];

    fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl ServiceAccountMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let fetches = Opts::new(
            "headcount_service_account_key_fetches_total",
            "Fetches of the cluster's keys for ServiceAccount tokens, by outcome: ok, failed.",
        );
        let fetches = IntCounterVec::new(fetches, &["outcome"])?;
        for ok in [true, false] {
            fetches.with_label_values(&[outcome(ok)]);
        }
        let reviews = Opts::new(
            "headcount_token_reviews_total",
            "Reviews of ServiceAccount tokens by kube-apiserver, by outcome: accepted, rejected, failed, dropped.",
        );
        let reviews = IntCounterVec::new(reviews, &["outcome"])?;
        for outcome in ReviewOutcome::ALL {
            reviews.with_label_values(&[outcome.as_str()]);
        }
        Ok(Self { fetches, reviews })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 2] {
        [Box::new(self.fetches.clone()), Box::new(self.reviews.clone())]
    }

    /// Counts a fetch of the keys.
    pub fn keys_fetched(&self, ok: bool) {
        self.fetches.with_label_values(&[outcome(ok)]).inc();
    }

    /// Counts a review of a token.
    pub fn reviewed(&self, outcome: ReviewOutcome) {
        self.reviews.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts tokens that were not reviewed because too many wait.
    pub fn reviews_dropped(&self, tokens: u64) {
        self.reviews.with_label_values(&[ReviewOutcome::Dropped.as_str()]).inc_by(tokens);
    }
}

fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}
