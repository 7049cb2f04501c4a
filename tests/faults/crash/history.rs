//! What one client has done, and which part of it a server that was killed may have lost.

use std::time::{Duration, Instant};

/// A registration, as a hello described it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) workload: String,
    /// Number of the hello.
    pub(crate) attempt: u32,
}

/// A state of a dataplane, as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Not registered.
    Absent,
    /// Registered, without a session.
    Lost(Registration),
    /// Registered, with a session.
    Connected(Registration),
}

impl State {
    pub(crate) fn registration(&self) -> Option<&Registration> {
        match self {
            Self::Absent => None,
            Self::Lost(registration) | Self::Connected(registration) => Some(registration),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }
}

/// The states of one dataplane since the server started, in order.
#[derive(Debug)]
pub(crate) struct History(Vec<Step>);

#[derive(Debug)]
struct Step {
    state: State,
    /// When the server confirmed the state; none if it did not.
    acknowledged: Option<Instant>,
}

impl History {
    /// Begins with a state that is stored.
    pub(crate) fn new(state: State) -> Self {
        Self(vec![Step { state, acknowledged: Some(Instant::now()) }])
    }

    /// The client asks for this state.
    pub(crate) fn request(&mut self, state: State) {
        self.0.push(Step { state, acknowledged: None });
    }

    /// The server confirms the requested state.
    pub(crate) fn acknowledge(&mut self, at: Instant) {
        self.0.last_mut().expect("a step").acknowledged = Some(at);
    }

    /// The latest state, whether or not it was confirmed.
    pub(crate) fn last(&self) -> &State {
        &self.0.last().expect("a step").state
    }

    /// The states that can be stored if everything is stored that was confirmed before `cutoff`.
    pub(crate) fn possible(&self, cutoff: Instant) -> impl Iterator<Item = &State> {
        let is_certain = |step: &Step| step.acknowledged.is_some_and(|at| at <= cutoff);
        let first = self.0.iter().rposition(is_certain).unwrap_or(0);
        self.0[first..].iter().map(|step| &step.state)
    }

    /// The age at `end` of the oldest confirmed change that a server has lost which has this registration;
    /// zero if it has lost none.
    ///
    /// # Errors
    ///
    /// If the dataplane never had this registration.
    pub(crate) fn lost(&self, found: Option<&Registration>, end: Instant) -> Result<Duration, String> {
        let Some(latest) = self.0.iter().rposition(|step| step.state.registration() == found) else {
            return Err(format!("found {found:?}, which is not in {self:?}"));
        };
        let lost = self.0[latest + 1..].iter().find_map(|step| step.acknowledged);
        Ok(lost.map_or(Duration::ZERO, |at| end.saturating_duration_since(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(attempt: u32) -> Registration {
        Registration { workload: "web".into(), attempt }
    }

    #[test]
    fn a_confirmed_step_may_be_missing_only_if_it_is_recent() {
        let start = Instant::now();
        let ms = |ms| Duration::from_millis(ms);
        let mut history = History::new(State::Absent);
        history.0[0].acknowledged = Some(start);
        history.request(State::Connected(registration(1)));
        history.acknowledge(start + ms(100));
        history.request(State::Lost(registration(1)));
        history.acknowledge(start + ms(200));
        history.request(State::Absent);
        history.acknowledge(start + ms(300));
        history.request(State::Connected(registration(2)));

        let lost = |found: Option<&Registration>| history.lost(found, start + ms(350));
        assert_eq!(lost(Some(&registration(2))), Ok(ms(0)), "stored, although it was not confirmed");
        assert_eq!(lost(None), Ok(ms(0)), "all that was confirmed is stored");
        assert_eq!(lost(Some(&registration(1))), Ok(ms(50)), "the goodbye is lost");
        assert!(lost(Some(&registration(3))).is_err());

        let possible = |at| history.possible(start + ms(at)).map(State::is_connected).collect::<Vec<_>>();
        assert_eq!(possible(350), [false, true]);
        assert_eq!(possible(200), [false, false, true]);
        assert_eq!(possible(150), [true, false, false, true]);
    }
}
