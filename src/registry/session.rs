//! A session: a value whose lifetime is the fact that a dataplane is connected.

use std::{fmt, future::poll_fn, sync::Arc, task::Poll, time::SystemTime};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::{entries::Entry, shared::Shared, silence::Patience};
use crate::{
    model::{Attempt, Dataplane, Health, HealthReport, HealthState},
    runtime::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
};

/// An open session. Dropping it is the disconnect: the dataplane stays
/// registered for the retention period. [`Session::goodbye`] ends both.
///
/// When a newer session of the same dataplane takes over, this one counts for
/// nothing any more and its end changes nothing.
pub struct Session {
    pub(super) registry: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
    pub(super) cell: Arc<SessionCell>,
}

/// What the registry has to say to a session, for its stream to pass on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A newer session of the same dataplane has taken over.
    Superseded,
    /// Nothing was heard from it for too long: it counts as lost.
    Silent,
    /// The server is about to end: the session counts until it goes.
    Draining,
}

/// How a session leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// It said so: the registration ends as well.
    Goodbye,
    /// The stream ended: the registration is kept for a while.
    Lost,
}

impl Session {
    /// Names the session in logs.
    pub fn id(&self) -> SessionId {
        self.cell.id
    }

    /// Whose session it is.
    pub fn dataplane(&self) -> &Arc<Dataplane> {
        &self.cell.dataplane
    }

    /// Whether a report changes the one thing that others can see.
    pub(super) fn would_flip(&self, report: HealthReport) -> bool {
        report.health.is_healthy(self.cell.gateway) != self.cell.healthy.load(Relaxed)
    }

    /// Notes that the dataplane said something.
    pub(super) fn heard(&self, now: Instant) {
        self.registry.silence.heard(&self.cell, now);
    }

    /// Takes a report. Costs no lock, no revision and no message unless it
    /// changes whether the dataplane counts as healthy.
    pub fn report(&self, report: HealthReport) {
        self.cell.last_report.store(report);
        if self.would_flip(report) {
            self.registry.flip(self, report.health.is_healthy(self.cell.gateway));
        }
    }

    /// Ends the session and the registration.
    pub fn goodbye(self) {
        self.registry.depart(&self.cell, Departure::Goodbye);
    }

    /// Returns when the registry has something to say; the newest of it, each
    /// time it is asked. One may wait at a time.
    pub async fn notice(&self) -> Notice {
        poll_fn(|context| {
            self.cell.ear.register(context.waker());
            self.cell.noticed().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.registry.depart(&self.cell, Departure::Lost);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.cell.id)
            .field("dataplane", &self.cell.dataplane.key)
            .finish_non_exhaustive()
    }
}

/// Unique within one life of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub(super) u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// What the session and its dataplane's registration share.
#[derive(Debug)]
#[repr(C)]
pub(super) struct SessionCell {
    // What a report touches comes first: it is in one cache line.
    last_report: LastReport,
    /// Counted in its entry; false for good once the session ended or another
    /// took over. Written under the entry's lock only.
    live: AtomicBool,
    /// Counted as healthy in its entry. Written under the entry's lock only.
    healthy: AtomicBool,
    /// The dataplane has no inbounds. Stands here because a report need not
    /// read the dataplane then.
    gateway: bool,
    /// A [`Notice`], or none yet.
    notice: AtomicU8,
    pub(super) id: SessionId,
    pub(super) patience: Patience,
    /// Of the task that waits for the notice.
    ear: AtomicWaker,
    pub(super) dataplane: Arc<Dataplane>,
    pub(super) since: SystemTime,
    pub(super) opened: Instant,
    pub(super) attempt: Attempt,
}

impl SessionCell {
    pub(super) fn new(id: SessionId, attempt: Attempt, since: SystemTime, dataplane: Arc<Dataplane>) -> Self {
        Self {
            last_report: LastReport::default(),
            live: AtomicBool::new(true),
            healthy: AtomicBool::new(false),
            gateway: dataplane.inbounds.is_empty(),
            notice: AtomicU8::new(NO_NOTICE),
            id,
            patience: Patience::default(),
            ear: AtomicWaker::new(),
            dataplane,
            since,
            opened: Instant::now(),
            attempt,
        }
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    pub(super) fn last_report(&self) -> HealthReport {
        self.last_report.load()
    }

    /// Under the entry's lock: notes a new state, and says whether it is one:
    /// not if the session no longer counts, or somebody else has just said so.
    pub(super) fn flip(&self, healthy: bool) -> bool {
        self.live.load(Relaxed) && self.healthy.swap(healthy, Relaxed) != healthy
    }

    /// Under the entry's lock: ends the session, and says whether it was
    /// counted as healthy.
    pub(super) fn end(&self) -> bool {
        self.live.store(false, Relaxed);
        self.healthy.swap(false, Relaxed)
    }

    /// Tells the session's stream.
    pub(super) fn tell(&self, notice: Notice) {
        self.notice.store(notice as u8, Relaxed);
        self.ear.wake();
    }

    fn noticed(&self) -> Option<Notice> {
        let noticed = self.notice.load(Relaxed);
        [Notice::Superseded, Notice::Silent, Notice::Draining]
            .into_iter()
            .find(|notice| *notice as u8 == noticed)
    }
}

/// What no [`Notice`] is stored as.
const NO_NOTICE: u8 = u8::MAX;

/// The newest report, for people who look at single proxies. Nothing is
/// decided by it, so a reader may see two reports mixed for an instant; in
/// return a report costs no lock.
#[derive(Debug, Default)]
struct LastReport {
    sequence: AtomicU64,
    proxy: AtomicU8,
    ready: AtomicU64,
    not_ready: AtomicU64,
}

impl LastReport {
    fn store(&self, report: HealthReport) {
        let (ready, not_ready) = report.health.bits();
        self.ready.store(ready, Relaxed);
        self.not_ready.store(not_ready, Relaxed);
        self.proxy.store(report.health.proxy as u8, Relaxed);
        self.sequence.store(report.sequence, Relaxed);
    }

    fn load(&self) -> HealthReport {
        let proxy = match self.proxy.load(Relaxed) {
            state if state == HealthState::Ready as u8 => HealthState::Ready,
            state if state == HealthState::NotReady as u8 => HealthState::NotReady,
            _ => HealthState::Unknown,
        };
        HealthReport {
            sequence: self.sequence.load(Relaxed),
            health: Health::from_bits(proxy, self.ready.load(Relaxed), self.not_ready.load(Relaxed)),
        }
    }
}
