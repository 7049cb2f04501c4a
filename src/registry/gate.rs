//! How fast new sessions are let in: a bucket of tokens that fills at a steady
//! rate, of which known dataplanes may take the last half alone.
//!
//! After a restart all proxies come at once, and most of them must be told to
//! come later, at little cost. Each is told another time, so that they come
//! back as fast as they can be let in and no faster.

use std::time::Duration;

use tokio::time::Instant;

use super::Full;
use crate::runtime::sync::Mutex;

/// What may come at once, after a quiet time.
const BURST: Duration = Duration::from_secs(1);
/// The least time to stay away: less costs more than it gains.
const SOONEST: Duration = Duration::from_millis(200);
/// The longest time: whoever were told more would look dead to people.
const LATEST: Duration = Duration::from_secs(30);

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Gate {
    /// New sessions in a second.
    rate: usize,
    /// Between two of them.
    interval: Duration,
    state: Mutex<Option<State>>,
}

/// Both times are ahead of now by what has been given out already.
#[derive(Debug, Clone, Copy)]
struct State {
    /// When the bucket will be full again.
    full_at: Instant,
    /// The time that whoever was shed last was told.
    told: Instant,
}

/// Who asks to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody has asked: the hello has not been read.
    Anybody,
    /// A dataplane that is registered.
    Known,
    /// A dataplane that is not.
    Stranger,
}

/// How somebody takes being told to come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Comes again when it is told to.
    Patient,
    /// Comes again within a second whatever it is told. No time is kept for it,
    /// so that a crowd of its like does not make the patient wait.
    Insistent,
}

impl Gate {
    pub(super) fn new(rate: usize) -> Self {
        let interval = BURST / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
        Self { rate, interval, state: Mutex::new(None) }
    }

    /// Lets one in, or says when to come again. Whether [`Who::Anybody`] would
    /// be let in is only asked: it takes no token.
    pub(super) fn enter(&self, who: Who, caller: Caller, now: Instant) -> Result<(), Full> {
        let mut state = self.state.lock();
        let State { full_at, told } = state.unwrap_or(State { full_at: now, told: now });
        let taken = full_at.saturating_duration_since(now);
        let may_take = match who {
            Who::Anybody | Who::Known => BURST,
            // Where that is less than one, one whenever nobody came for long.
            Who::Stranger => (BURST / 2).max(self.interval),
        };
        if taken + self.interval <= may_take {
            if who != Who::Anybody {
                *state = Some(State { full_at: now + taken + self.interval, told });
            }
            return Ok(());
        }
        let told = told.max(now + SOONEST).min(now + LATEST) + self.interval;
        if caller == Caller::Patient {
            *state = Some(State { full_at, told });
        }
        Err(Full::SessionRate { limit: self.rate, retry_after: told - now })
    }

    /// How long it takes to let so many in.
    pub(super) fn time_for(&self, sessions: usize) -> Duration {
        self.interval.saturating_mul(u32::try_from(sessions).unwrap_or(u32::MAX)).min(LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: usize = 100;

    fn admitted(gate: &Gate, who: Who, times: usize, now: Instant) -> usize {
        (0..times).filter(|_| gate.enter(who, Caller::Patient, now).is_ok()).count()
    }

    #[test]
    fn a_seconds_worth_may_come_at_once_and_then_as_many_as_the_rate_lets() {
        let (gate, start) = (Gate::new(RATE), Instant::now());
        assert_eq!(admitted(&gate, Who::Known, 1_000, start), RATE);
        let later = start + Duration::from_millis(250);
        assert_eq!(admitted(&gate, Who::Known, 1_000, later), RATE / 4);
        assert_eq!(admitted(&gate, Who::Known, 1_000, later + Duration::from_hours(1)), RATE);
    }

    #[test]
    fn strangers_leave_half_to_those_who_are_known() {
        let (gate, start) = (Gate::new(RATE), Instant::now());
        assert_eq!(admitted(&gate, Who::Stranger, 1_000, start), RATE / 2);
        assert!(gate.enter(Who::Anybody, Caller::Patient, start).is_ok(), "it may be one who is known");
        assert_eq!(admitted(&gate, Who::Known, 1_000, start), RATE / 2);
        assert!(gate.enter(Who::Anybody, Caller::Patient, start).is_err());
        let later = start + Duration::from_millis(100);
        assert_eq!(admitted(&gate, Who::Stranger, 1_000, later), 0, "the first half fills first");
        assert_eq!(admitted(&gate, Who::Known, 1_000, later), RATE / 10);
    }

    #[test]
    fn the_insistent_do_not_make_the_patient_wait() {
        let (gate, start) = (Gate::new(RATE), Instant::now());
        admitted(&gate, Who::Known, RATE, start);
        for _ in 0..10_000 {
            assert!(gate.enter(Who::Anybody, Caller::Insistent, start).is_err());
        }
        let patient = gate.enter(Who::Known, Caller::Patient, start);
        assert!(matches!(patient, Err(Full::SessionRate { retry_after, .. }) if retry_after < BURST));
    }

    #[test]
    fn a_crowd_needs_its_time_to_return() {
        let gate = Gate::new(RATE);
        assert_eq!(gate.time_for(10 * RATE), 10 * BURST);
        assert_eq!(gate.time_for(usize::MAX), LATEST);
    }

    #[test]
    fn the_lowest_rate_lets_strangers_in_too() {
        let (gate, start) = (Gate::new(1), Instant::now());
        assert_eq!(admitted(&gate, Who::Stranger, 10, start), 1);
        assert_eq!(admitted(&gate, Who::Stranger, 10, start + BURST), 1);
    }

    #[test]
    fn whoever_is_shed_is_told_a_time_of_its_own_and_none_is_very_late() {
        let (gate, start) = (Gate::new(RATE), Instant::now());
        admitted(&gate, Who::Known, RATE, start);
        let told: Vec<_> = (0..10_000)
            .map(|_| match gate.enter(Who::Known, Caller::Patient, start) {
                Err(Full::SessionRate { retry_after, .. }) => retry_after,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(told[0] >= SOONEST && told.iter().all(|wait| *wait <= LATEST + gate.interval));
        let in_a_second = |second| told.iter().filter(|wait| wait.as_secs() == second).count();
        assert_eq!((in_a_second(1), in_a_second(5)), (RATE, RATE));
        // Whoever comes when all those times are over is not told to wait for them.
        let later = start + Duration::from_mins(5);
        admitted(&gate, Who::Known, RATE, later);
        assert!(
            matches!(gate.enter(Who::Known, Caller::Patient, later), Err(Full::SessionRate { retry_after, .. }) if retry_after < BURST)
        );
    }
}
