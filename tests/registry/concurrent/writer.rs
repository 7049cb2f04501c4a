//! One writer thread: its dataplanes, and the operations that it performs on them.

use std::thread;

use fastrand::Rng;
use headcount::{model::HealthState, registry::Registry};
use parking_lot::Mutex;

use crate::{
    domain::{INBOUNDS, Identity, ReportedHealth, Statement, WORKLOADS, ZONES, connect},
    open_session::OpenSession,
};

/// Most operations of one writer.
const MAX_OPERATIONS: usize = 24;

/// Sessions that any writer may end, so that their end is concurrent with other operations on the
/// same dataplane, for example with the hello of the next session.
#[derive(Debug, Default)]
pub(super) struct EndQueue(Mutex<Vec<(OpenSession, End)>>);

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Disconnect,
    Goodbye,
}

impl EndQueue {
    fn push(&self, session: OpenSession, end: End) {
        self.0.lock().push((session, end));
    }

    /// Ends one session, and may send a report before.
    fn end_one(&self, rng: &mut Rng) {
        let next = self.0.lock().pop();
        if let Some((mut session, end)) = next {
            if rng.bool() {
                report(&mut session, any_health(rng));
            }
            end.end(session);
        }
    }

    pub(super) fn end_all(&self) {
        let rest = std::mem::take(&mut *self.0.lock());
        for (session, end) in rest {
            end.end(session);
        }
    }
}

impl End {
    fn any(rng: &mut Rng) -> Self {
        if rng.u8(..3) == 0 { Self::Goodbye } else { Self::Disconnect }
    }

    fn end(self, session: OpenSession) {
        match self {
            Self::Disconnect => session.disconnect(),
            Self::Goodbye => session.goodbye(),
        }
    }
}

/// What a writer may do with a dataplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything; no other writer uses the dataplane.
    Own,
    /// Reports and moves to another workload, but never leaves, so that the total of its namespace
    /// is constant.
    Mover,
    /// Everything, while another writer does the same.
    Contested,
}

/// A dataplane as one writer knows it.
#[derive(Debug)]
pub(super) struct WriterDataplane {
    pub(super) identity: Identity,
    pub(super) role: Role,
    /// The statement and the state of the last session; none if there was none.
    pub(super) last: Option<(Statement, LastSession)>,
}

/// The state of a writer's last session.
#[derive(Debug)]
pub(super) enum LastSession {
    /// The writer has it open; with the last report.
    Open(OpenSession, Option<ReportedHealth>),
    Ended(End),
}

impl WriterDataplane {
    pub(super) fn new(identity: Identity, role: Role) -> Self {
        Self { identity, role, last: None }
    }

    /// Opens a session. The previous one, if it is open, goes to the end queue.
    pub(super) fn hello(&mut self, registry: &Registry, end_queue: &EndQueue, rng: &mut Rng) {
        let before = self.last.take();
        let statement = any_statement(rng, self.role != Role::Mover);
        let connected = connect(registry, statement.of(self.identity)).expect("room");
        let session = OpenSession::new(connected.session);
        if let Some((_, LastSession::Open(older, _))) = before {
            end_queue.push(older, End::any(rng));
        }
        self.last = Some((statement, LastSession::Open(session, None)));
    }

    fn operate(&mut self, registry: &Registry, end_queue: &EndQueue, rng: &mut Rng) {
        if !matches!(self.last, Some((_, LastSession::Open(..)))) {
            return self.hello(registry, end_queue, rng);
        }
        let choices = match self.role {
            Role::Mover => 8,
            // The verdict must know which of two sessions is the later one, so only its writer ends it.
            Role::Contested => 10,
            Role::Own => 12,
        };
        match rng.u8(..choices) {
            0..4 => self.hello(registry, end_queue, rng),
            4..8 => self.report(rng),
            8..10 => self.end(rng, |session, end| end.end(session)),
            // Any writer ends it, possibly while this one opens the next session.
            _ => self.end(rng, |session, end| end_queue.push(session, end)),
        }
    }

    fn report(&mut self, rng: &mut Rng) {
        if let Some((_, LastSession::Open(session, last))) = &mut self.last {
            let health = any_health(rng);
            report(session, health);
            *last = Some(health);
        }
    }

    fn end(&mut self, rng: &mut Rng, by: impl FnOnce(OpenSession, End)) {
        if let Some((statement, LastSession::Open(session, _))) = self.last.take() {
            let end = End::any(rng);
            by(session, end);
            self.last = Some((statement, LastSession::Ended(end)));
        }
    }
}

/// Runs one writer to its end.
pub(super) fn write(
    dataplanes: &mut [WriterDataplane],
    registry: &Registry,
    end_queue: &EndQueue,
    rng: &mut Rng,
) {
    for _ in 0..rng.usize(1..=MAX_OPERATIONS) {
        let at = rng.usize(..dataplanes.len());
        dataplanes[at].operate(registry, end_queue, rng);
        match rng.u8(..4) {
            0 => thread::yield_now(),
            1 => end_queue.end_one(rng),
            _ => {}
        }
    }
}

fn report(session: &mut OpenSession, health: ReportedHealth) {
    let inbounds = session.dataplane().inbounds.len();
    session.report(health.report(1, inbounds));
}

fn any_statement(rng: &mut Rng, or_none: bool) -> Statement {
    let choices = WORKLOADS.len() + usize::from(or_none);
    Statement {
        workload: WORKLOADS.get(rng.usize(..choices)).copied(),
        zone: ZONES[rng.usize(..ZONES.len())],
        kubernetes: false,
        inbounds: rng.usize(..=INBOUNDS),
    }
}

fn any_health(rng: &mut Rng) -> ReportedHealth {
    let mut state = || match rng.u8(..6) {
        0 => HealthState::Unknown,
        1 => HealthState::NotReady,
        _ => HealthState::Ready,
    };
    ReportedHealth { proxy: state(), inbounds: [state(), state()] }
}
