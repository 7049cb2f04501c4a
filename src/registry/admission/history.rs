//! Which hello of a dataplane opens a session, and when: what the dataplane's sessions of the
//! last minute decide about the next one. Plain data without a lock and without a clock.
//!
//! ```text
//!  hello ─► stale attempt, or replaced while it waited? ──► superseded
//!             │
//!           another client is connected, and not the first one? ──► held off while that one lives
//!             │
//!           connected less than the flap interval ago? ──► waits; a newer hello replaces it
//!             │
//!             ▼
//!           connects, and takes over the open session
//! ```
//!
//! A takeover must be immediate, because the older connection may be dead without the server
//! having detected it. But two living processes of one identity would take each other over
//! forever: an Envoy reconnects within a second, and a supervisor restarts an agent that was
//! superseded. So a takeover is admitted once, and from then on the session that is open
//! remains until it ends.

use std::time::Duration;

use tokio::time::Instant;

use super::LimitReached;
use crate::{model::Attempt, registry::Client};

/// How long a takeover, a rejection or a goodbye counts. Longer than [`MAX_RETRY_AFTER`], so
/// that a client that retries is known again.
const MEMORY: Duration = Duration::from_mins(1);
/// Takeovers by agents that are admitted within [`MEMORY`]. An agent that reconnects is known
/// by its instance, so even the second one means that three processes have run in a minute.
const TAKEOVERS_BY_AGENTS: usize = 1;
/// The same for clients of which only the address is known: a new connection may be the same
/// Envoy after a fault of the network. Two Envoys need no more than one, because each keeps its
/// connection and so is known when it returns.
const TAKEOVERS_BY_CONNECTIONS: usize = 3;
/// The former clients that are known: as many as can be superseded in a minute, and one that
/// was lost.
const MAX_FORMER: usize = TAKEOVERS_BY_CONNECTIONS + 1;
/// The first retry delay of a client that is held off; it doubles with each attempt.
const MIN_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The longest one: a client is back within 10 s after the other has left.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(8);
/// The longest one while the other client may be dead, so that the replacement of a crashed process
/// does not wait for much longer than the server needs to detect the crash.
const MAX_RETRY_AFTER_UNSURE: Duration = Duration::from_secs(2);
/// A session that is still open after this time has a living peer: the server detects a dead
/// one earlier.
const ALIVE_AFTER: Duration = Duration::from_secs(10);
/// The least time between two reports of one conflict.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// A hello that waits for admission.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hello {
    /// Unique within one epoch of the server.
    pub(crate) id: u64,
    pub(crate) client: Client,
    pub(crate) stage: Stage,
}

/// What has happened to a hello so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has just arrived.
    New,
    /// It has waited as [`NotAdmitted::Wait`] required.
    Waited,
    /// It was held off, and its stream is still open.
    HeldOff,
}

/// The registration of the dataplane when the hello arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// The attempt that opened its latest session.
    pub(crate) attempt: Attempt,
    /// When that session began.
    pub(crate) opened: Instant,
    /// That session, if it is open.
    pub(crate) present: Option<Present>,
}

/// An open session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Present {
    pub(crate) client: Client,
    /// Differs after each message of the client.
    pub(crate) activity: u64,
}

/// Why a hello opens no session, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// A limit is reached.
    Limit(LimitReached),
    /// The dataplane has just connected. Try again then.
    Wait(Instant),
    /// A newer hello of the dataplane has arrived.
    Superseded,
    /// Another client has the session and lives.
    HeldOff(HoldOff),
    /// The caller has no right to the registered dataplane.
    NotOwner,
}

impl From<LimitReached> for NotAdmitted {
    fn from(limit: LimitReached) -> Self {
        Self::Limit(limit)
    }
}

/// A client is held off while another one is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HoldOff {
    /// The client that is connected.
    pub(crate) present: Client,
    /// When the other one should try again.
    pub(crate) retry_after: Duration,
    /// Both clients live, and this was not reported recently.
    pub(crate) report: bool,
}

/// The sessions that a dataplane had within [`MEMORY`]. Only dataplanes whose last minute
/// decides about their next hello have one.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The latest clients that were followed by another one, by a takeover or after a loss.
    former: Vec<Client>,
    /// Takeovers by other clients, and until when they count.
    takeovers: (usize, Option<Instant>),
    /// A conflict of the open session's client with others.
    conflict: Option<Conflict>,
    /// The hello that connects next: its identifier and attempt.
    waiting: Option<(u64, Attempt)>,
    /// The last registration that ended: its attempt, and when its session began.
    departed: Option<(Attempt, Instant)>,
    /// When nothing of this counts any more.
    expires_at: Option<Instant>,
}

#[derive(Debug)]
struct Conflict {
    since: Instant,
    /// [`Present::activity`] at that time.
    activity: u64,
    /// Hellos that were held off.
    attempts: u32,
    reported_at: Option<Instant>,
}

impl History {
    /// Decides whether a hello may connect now; [`History::connect`] records that it has.
    /// `interval` is the least time between two connects.
    ///
    /// # Errors
    ///
    /// Why it does not connect now; never [`NotAdmitted::Limit`].
    pub(crate) fn admit(
        &mut self,
        hello: &Hello,
        known: Option<&Known>,
        interval: Duration,
        now: Instant,
    ) -> Result<(), NotAdmitted> {
        let attempt = hello.client.attempt;
        let connect_at = self.last_opened(known).map_or(now, |opened| opened + interval);
        if self.is_stale(attempt, known) || self.was_replaced(hello, now < connect_at) {
            return Err(NotAdmitted::Superseded);
        }
        let present = known.and_then(|known| known.present);
        if let Some(present) =
            present.filter(|present| self.may_not_take_over(hello.client, present.client, now))
        {
            self.cancel(hello.id);
            return Err(NotAdmitted::HeldOff(self.hold_off(hello, present, now)));
        }
        if now < connect_at {
            self.waiting = Some((hello.id, attempt));
            self.keep(now);
            return Err(NotAdmitted::Wait(connect_at));
        }
        Ok(())
    }

    /// Records that a client connects. Separate from [`History::admit`], because a limit may reject
    /// an admitted hello, which must not count as a takeover then.
    pub(crate) fn connect(&mut self, client: Client, known: Option<&Known>, now: Instant) {
        (self.waiting, self.conflict) = (None, None);
        if let Some(known) = known {
            self.follow(client, known, now);
        }
    }

    /// Records that a client connects after, or instead of, another one.
    fn follow(&mut self, client: Client, known: &Known, now: Instant) {
        let lost = Client { attempt: known.attempt, peer: None };
        let former = known.present.map_or(lost, |present| present.client);
        if client.differs_from(former) {
            if self.former.len() == MAX_FORMER {
                self.former.remove(0);
            }
            self.former.push(former);
            self.keep(now);
            if known.present.is_some() {
                self.takeovers = (self.takeovers(now) + 1, Some(now + MEMORY));
            }
        }
    }

    fn takeovers(&self, now: Instant) -> usize {
        let (takeovers, until) = self.takeovers;
        if until.is_some_and(|until| now < until) { takeovers } else { 0 }
    }

    /// Records that a registration has ended.
    pub(crate) fn depart(&mut self, attempt: Attempt, opened: Instant, now: Instant) {
        self.departed = Some((attempt, opened));
        self.keep(now);
    }

    /// Records that a waiting hello has been cancelled.
    pub(crate) fn cancel(&mut self, hello: u64) {
        self.waiting.take_if(|(waiting, _)| *waiting == hello);
    }

    /// When nothing of it counts any more; none if nothing does.
    pub(crate) fn expires_at(&self) -> Option<Instant> {
        self.expires_at
    }

    fn keep(&mut self, now: Instant) {
        self.expires_at = Some(now + MEMORY);
    }

    /// When the latest session began.
    fn last_opened(&self, known: Option<&Known>) -> Option<Instant> {
        known.map(|known| known.opened).max(self.departed.map(|(_, opened)| opened))
    }

    /// Whether the same agent began a later attempt.
    fn is_stale(&self, attempt: Attempt, known: Option<&Known>) -> bool {
        let (waiting, departed) = (self.waiting.map(|waiting| waiting.1), self.departed.map(|last| last.0));
        let others = [known.map(|known| known.attempt), waiting, departed];
        others.into_iter().flatten().any(|other| attempt.is_before(other))
    }

    /// Whether another hello took the turn of one that has waited: it has connected, so that it
    /// is too early again, or will.
    fn was_replaced(&self, hello: &Hello, early: bool) -> bool {
        hello.stage == Stage::Waited && (early || self.waiting.is_some_and(|(next, _)| next != hello.id))
    }

    /// Whether the client that is connected remains: the other one was connected before and
    /// returns, or there were enough takeovers.
    fn may_not_take_over(&self, client: Client, present: Client, now: Instant) -> bool {
        let admitted =
            if client.attempt.instance == 0 { TAKEOVERS_BY_CONNECTIONS } else { TAKEOVERS_BY_AGENTS };
        let returns = || self.former.iter().any(|former| client.is_same_as(*former));
        client.differs_from(present) && (self.takeovers(now) >= admitted || returns())
    }

    fn hold_off(&mut self, hello: &Hello, Present { client, activity }: Present, now: Instant) -> HoldOff {
        self.keep(now);
        // Those that no longer counted do not count again.
        self.takeovers = (self.takeovers(now), self.expires_at);
        let new = Conflict { since: now, activity, attempts: 0, reported_at: None };
        let conflict = self.conflict.get_or_insert(new);
        if hello.stage != Stage::HeldOff {
            conflict.attempts += 1;
        }
        let both_live = conflict.activity != activity || now >= conflict.since + ALIVE_AFTER;
        let due = |reported_at| now >= reported_at + REPORT_INTERVAL;
        let report = both_live && conflict.reported_at.is_none_or(due);
        if report {
            conflict.reported_at = Some(now);
        }
        let doubled = 2_u32.saturating_pow(conflict.attempts.saturating_sub(1));
        let longest = if both_live { MAX_RETRY_AFTER } else { MAX_RETRY_AFTER_UNSURE };
        let retry_after = MIN_RETRY_AFTER.saturating_mul(doubled).min(longest);
        HoldOff { present: client, retry_after, report }
    }
}

#[cfg(test)]
mod tests;
