//! What a session shares with the registration of its dataplane.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::{
    admission::MemoryPermit,
    client::{Client, PeerAddress},
};
use crate::{
    model::{Attempt, Dataplane, Health, HealthReport, HealthState},
    runtime::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
};

/// Identifies a session in logs and responses; unique within one epoch of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub(crate) u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// What the registry requires of a session's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// A newer session of the same dataplane has taken over: end the stream.
    Superseded,
    /// The session was idle for longer than its timeout and counts as lost: end the
    /// stream.
    Idle,
    /// The server is shutting down: ask the client to reconnect. The session counts
    /// until it ends.
    Draining,
}

/// How a notice is stored when there is none.
const NO_NOTICE: u8 = u8::MAX;

/// The state of one session, shared by the [`Session`](super::Session) guard, the
/// registration and the idle tracker.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SessionCell {
    // A report touches the first fields only; they share one cache line.
    last_report: LastReport,
    /// Counted in its entry. False forever once the session has ended or another has
    /// taken over. Written under the entry's lock only.
    live: AtomicBool,
    /// Counted as healthy in its entry. Written under the entry's lock only.
    healthy: AtomicBool,
    /// The dataplane has no inbounds. Copied here so that a report need not read the
    /// dataplane.
    gateway: bool,
    notice: AtomicU8,
    pub(crate) idle: IdleState,
    pub(crate) id: SessionId,
    /// Wakes the task that waits for a notice.
    waker: AtomicWaker,
    pub(crate) dataplane: Arc<Dataplane>,
    pub(crate) since: SystemTime,
    pub(crate) opened: Instant,
    /// When the next change of health may be visible, in nanoseconds after `opened`. Written by
    /// the session only.
    next_change: AtomicU64,
    attempt: Attempt,
    peer: PeerAddress,
    pub(crate) memory: Arc<MemoryPermit>,
}

/// The idle state of one session, for the [`IdleTracker`](super::deadlines::IdleTracker).
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct IdleState {
    /// The latest activity, in milliseconds since the tracker's start.
    pub(crate) active_at: AtomicU64,
    /// The session's place in the tracker, written under its lock only; 0 if it is not
    /// tracked.
    pub(crate) check_at: AtomicU64,
    /// In milliseconds.
    pub(crate) timeout: AtomicU64,
}

impl SessionCell {
    pub(crate) fn new(
        id: SessionId,
        client: Client,
        since: SystemTime,
        dataplane: Arc<Dataplane>,
        memory: Arc<MemoryPermit>,
    ) -> Self {
        Self {
            last_report: LastReport::default(),
            live: AtomicBool::new(true),
            healthy: AtomicBool::new(false),
            gateway: dataplane.inbounds.is_empty(),
            notice: AtomicU8::new(NO_NOTICE),
            id,
            idle: IdleState::default(),
            waker: AtomicWaker::new(),
            dataplane,
            since,
            opened: Instant::now(),
            next_change: AtomicU64::new(0),
            attempt: client.attempt,
            peer: client.peer.into(),
            memory,
        }
    }

    /// The client that opened the session.
    pub(crate) fn client(&self) -> Client {
        Client { attempt: self.attempt, peer: self.peer.into() }
    }

    /// When the next change of health may be visible. Times before the session count as its
    /// begin.
    pub(crate) fn next_change_at(&self) -> Instant {
        self.opened + Duration::from_nanos(self.next_change.load(Relaxed))
    }

    pub(crate) fn set_next_change_at(&self, time: Instant) {
        let after = time.saturating_duration_since(self.opened).as_nanos();
        self.next_change.store(u64::try_from(after).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Relaxed)
    }

    pub(crate) fn last_report(&self) -> HealthReport {
        self.last_report.load()
    }

    pub(crate) fn store_report(&self, report: HealthReport) {
        self.last_report.store(report);
    }

    /// Whether the dataplane counts as healthy after this report.
    pub(crate) fn is_healthy_by(&self, report: HealthReport) -> bool {
        report.health.is_healthy(self.gateway)
    }

    /// Stores a new health. Returns whether it changed; it does not if the session no
    /// longer counts. Requires the entry's lock.
    pub(crate) fn set_healthy(&self, healthy: bool) -> bool {
        self.live.load(Relaxed) && self.healthy.swap(healthy, Relaxed) != healthy
    }

    /// Ends the session and returns whether it counted as healthy. Requires the
    /// entry's lock.
    pub(crate) fn end(&self) -> bool {
        self.live.store(false, Relaxed);
        self.healthy.swap(false, Relaxed)
    }

    /// Hands a notice to the session's stream. A later notice replaces an earlier one.
    pub(crate) fn notify(&self, notice: Notice) {
        self.notice.store(notice as u8, Relaxed);
        self.waker.wake();
    }

    /// Waits for a notice, and returns the latest one. One task may wait at a time.
    pub(crate) async fn notice(&self) -> Notice {
        poll_fn(|context| {
            self.waker.register(context.waker());
            self.latest_notice().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    fn latest_notice(&self) -> Option<Notice> {
        let stored = self.notice.load(Relaxed);
        [Notice::Superseded, Notice::Idle, Notice::Draining]
            .into_iter()
            .find(|notice| *notice as u8 == stored)
    }
}

/// The latest report, for listings of single dataplanes. Nothing is decided by it, so
/// a reader may see parts of two reports for an instant; in return a report takes no
/// lock.
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
