//! The time after a restart in which restored dataplanes have not come back yet.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use tokio::time::Instant;

use crate::runtime::sync::Mutex;

/// Counts the dataplanes that were connected before the restart and are not back.
#[derive(Debug, Default)]
pub(crate) struct Warming(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    missing: usize,
    /// None before the restart was restored from, and without a data directory.
    ends: Option<Instant>,
}

/// The server is warming: `connected` and `healthy` are lower than they will soon be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmingStatus {
    /// Dataplanes that were connected before the restart and are not yet connected again.
    pub missing: usize,
    /// After this time the server is no longer warming, even if some are still missing.
    pub remaining: Duration,
}

/// One line for a person.
impl Display for WarmingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dataplanes = if self.missing == 1 { "dataplane has" } else { "dataplanes have" };
        let seconds = self.remaining.as_secs_f64().ceil();
        let missing = self.missing;
        write!(
            f,
            "the server restarted: {missing} {dataplanes} not reconnected yet (at most {seconds}s more)"
        )
    }
}

impl Warming {
    /// Begins to wait for so many dataplanes, for `limit` at most.
    pub(crate) fn begin(&self, missing: usize, limit: Duration) {
        *self.0.lock() = State { missing, ends: Some(Instant::now() + limit) };
    }

    /// One of them has connected again, or is no longer registered.
    pub(crate) fn found(&self) {
        let mut state = self.0.lock();
        state.missing = state.missing.saturating_sub(1);
    }

    /// None if the server is not warming.
    pub(crate) fn status(&self) -> Option<WarmingStatus> {
        let state = self.0.lock();
        let remaining = state.ends?.saturating_duration_since(Instant::now());
        (state.missing > 0 && !remaining.is_zero())
            .then_some(WarmingStatus { missing: state.missing, remaining })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seconds_are_rounded_up() {
        let text = |missing, remaining| WarmingStatus { missing, remaining }.to_string();
        assert_eq!(
            text(12, Duration::from_millis(20_001)),
            "the server restarted: 12 dataplanes have not reconnected yet (at most 21s more)"
        );
        assert_eq!(
            text(1, Duration::from_millis(1)),
            "the server restarted: 1 dataplane has not reconnected yet (at most 1s more)"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_all_are_back_or_when_the_time_is_over() {
        let warming = Warming::default();
        assert_eq!(warming.status(), None);
        let limit = Duration::from_secs(30);
        warming.begin(2, limit);
        assert_eq!(warming.status(), Some(WarmingStatus { missing: 2, remaining: limit }));
        warming.found();
        tokio::time::advance(Duration::from_secs(10)).await;
        let status = WarmingStatus { missing: 1, remaining: Duration::from_secs(20) };
        assert_eq!(warming.status(), Some(status));
        warming.found();
        assert_eq!(warming.status(), None);

        warming.begin(1, limit);
        tokio::time::advance(limit).await;
        assert_eq!(warming.status(), None);
    }
}
