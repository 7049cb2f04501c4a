//! One thread's dataplanes, and what it does with them.

use std::thread;

use fastrand::Rng;
use headcount::{model::HealthState, registry::Registry};
use parking_lot::Mutex;

use crate::{
    held::Held,
    world::{INBOUNDS, Pulse, Statement, WORKLOADS, Who, ZONES, connect},
};

/// Longest sequence of one writer.
const MAX_ACTS: usize = 24;

/// Sessions that whoever comes by shall end, so that their end meets whatever
/// else is going on, the hello of their successor for instance.
#[derive(Debug, Default)]
pub(super) struct Graveyard(Mutex<Vec<(Held, End)>>);

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Cut,
    Goodbye,
}

impl Graveyard {
    fn leave(&self, session: Held, end: End) {
        self.0.lock().push((session, end));
    }

    /// Ends one, perhaps with a last word.
    fn bury_one(&self, rng: &mut Rng) {
        let next = self.0.lock().pop();
        if let Some((mut session, end)) = next {
            if rng.bool() {
                report(&mut session, pulse(rng));
            }
            end.end(session);
        }
    }

    pub(super) fn bury_all(&self) {
        let rest = std::mem::take(&mut *self.0.lock());
        for (session, end) in rest {
            end.end(session);
        }
    }
}

impl End {
    fn any(rng: &mut Rng) -> Self {
        if rng.u8(..3) == 0 { Self::Goodbye } else { Self::Cut }
    }

    fn end(self, session: Held) {
        match self {
            Self::Cut => session.cut(),
            Self::Goodbye => session.goodbye(),
        }
    }
}

/// What a writer may do with a dataplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Anything; nobody else does.
    Own,
    /// It only ever reports and moves to another workload, so that the
    /// namespace it is in always has the same total.
    Mover,
    /// Anything, while another writer does as well.
    Contested,
}

/// A dataplane as far as one writer knows.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) who: Who,
    pub(super) role: Role,
    /// The statement and the fate of the last session; none if there was none.
    pub(super) last: Option<(Statement, Fate)>,
}

/// What became of a session.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its writer still has it; with the last report.
    Kept(Held, Option<Pulse>),
    Ended(End),
}

impl Desk {
    pub(super) fn new(who: Who, role: Role) -> Self {
        Self { who, role, last: None }
    }

    /// Opens a session. The one before it, if still open, goes to the graveyard.
    pub(super) fn hello(&mut self, registry: &Registry, graveyard: &Graveyard, rng: &mut Rng) {
        let before = self.last.take();
        let statement = statement(rng, self.role != Role::Mover);
        let welcome = connect(registry, statement.of(self.who)).expect("room");
        let session = Held::new(welcome.session);
        if let Some((_, Fate::Kept(older, _))) = before {
            graveyard.leave(older, End::any(rng));
        }
        self.last = Some((statement, Fate::Kept(session, None)));
    }

    fn act(&mut self, registry: &Registry, graveyard: &Graveyard, rng: &mut Rng) {
        if !matches!(self.last, Some((_, Fate::Kept(..)))) {
            return self.hello(registry, graveyard, rng);
        }
        let choices = match self.role {
            Role::Mover => 8,
            // Who of two comes last must be known, so nobody else ends theirs.
            Role::Contested => 10,
            Role::Own => 12,
        };
        match rng.u8(..choices) {
            0..4 => self.hello(registry, graveyard, rng),
            4..8 => self.report(rng),
            8..10 => self.end(rng, |session, end| end.end(session)),
            // Somebody else shall end it, perhaps while this writer says hello again.
            _ => self.end(rng, |session, end| graveyard.leave(session, end)),
        }
    }

    fn report(&mut self, rng: &mut Rng) {
        if let Some((_, Fate::Kept(session, last))) = &mut self.last {
            let pulse = pulse(rng);
            report(session, pulse);
            *last = Some(pulse);
        }
    }

    fn end(&mut self, rng: &mut Rng, by: impl FnOnce(Held, End)) {
        if let Some((statement, Fate::Kept(session, _))) = self.last.take() {
            let end = End::any(rng);
            by(session, end);
            self.last = Some((statement, Fate::Ended(end)));
        }
    }
}

/// Plays a writer.
pub(super) fn write(desks: &mut [Desk], registry: &Registry, graveyard: &Graveyard, rng: &mut Rng) {
    for _ in 0..rng.usize(1..=MAX_ACTS) {
        let at = rng.usize(..desks.len());
        desks[at].act(registry, graveyard, rng);
        match rng.u8(..4) {
            0 => thread::yield_now(),
            1 => graveyard.bury_one(rng),
            _ => {}
        }
    }
}

fn report(session: &mut Held, pulse: Pulse) {
    let inbounds = session.dataplane().inbounds.len();
    session.report(pulse.report(1, inbounds));
}

fn statement(rng: &mut Rng, or_none: bool) -> Statement {
    let choices = WORKLOADS.len() + usize::from(or_none);
    Statement {
        workload: WORKLOADS.get(rng.usize(..choices)).copied(),
        zone: ZONES[rng.usize(..ZONES.len())],
        kubernetes: false,
        inbounds: rng.usize(..=INBOUNDS),
    }
}

fn pulse(rng: &mut Rng) -> Pulse {
    let mut state = || match rng.u8(..6) {
        0 => HealthState::Unknown,
        1 => HealthState::NotReady,
        _ => HealthState::Ready,
    };
    Pulse { proxy: state(), inbounds: [state(), state()] }
}
