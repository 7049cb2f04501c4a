//! How a dataplane is let in and seen off, by whichever desk it comes: limits,
//! pace, patience, log and metrics are the same for all.

use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{debug, info, warn};

use super::status::{draining, shed};
use crate::{
    model::{Attempt, Dataplane, HealthReport},
    registry::{Caller, Endurance, Full, Notice, Paced, Registry, SessionId, Taken, Welcome},
    runtime::resettable_timer::ResettableTimer,
    telemetry::metrics::{EndReason, Metrics, SessionMetrics, ShedMetrics},};

/// What both desks have in common.
#[derive(Debug, Clone)]
pub(super) struct Reception {
    pub(super) registry: Registry,
    metrics: SessionMetrics,
    shed: ShedMetrics,
    shutdown: CancellationToken,
}

impl Reception {
    /// Lets nobody in any more when `shutdown` is cancelled.
    pub(super) fn new(registry: Registry, metrics: &Metrics, shutdown: CancellationToken) -> Self {
        Self { registry, metrics: metrics.sessions.clone(), shed: metrics.shed.clone(), shutdown }
    }

    /// Whether anybody could be let in: asked before anything is read.
    pub(super) fn gate(&self, caller: Caller) -> Result<(), Status> {
        self.registry.gate(caller).map_err(|full| self.shed(&full))
    }

    /// Waits for the first thing that a proxy says, which is `what`.
    pub(super) async fn first<T>(
        &self,
        what: &str,
        within: Duration,
        first: impl Future<Output = T>,
    ) -> Result<T, Status> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(draining()),
            first = timeout_at(Instant::now() + within, first) => first.map_err(|_| {
                Status::deadline_exceeded(format!("no {what} within {within:?}: it must be the first message"))
            }),
        }
    }

    /// Opens a session, and says what its person should know.
    pub(super) async fn let_in(
        &self,
        dataplane: Dataplane,
        attempt: Attempt,
        caller: Caller,
        endurance: Endurance,
        peer: Option<SocketAddr>,
    ) -> Result<(Visit, Vec<String>), Status> {
        let admitted = self.registry.admit(&dataplane.key, caller);
        let hello_at = admitted.map_err(|full| self.shed(&full))?;
        // No timer for the many who need not wait: it would take a millisecond.
        if hello_at > Instant::now() {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Err(draining()),
                () = sleep_until(hello_at) => {}
            }
        }
        let welcome = self.registry.hello_of(dataplane, attempt);
        let Welcome { session, warnings } = welcome.map_err(|full| self.shed(&full))?;
        debug!(session = %session.id(), dataplane = %session.dataplane().key, ?peer, "connected");
        let paced = self.registry.pace(session, endurance);
        Ok((Visit::new(paced, endurance.silence, self.metrics.clone()), warnings))
    }

    /// Sends a proxy away because a limit is reached.
    fn shed(&self, full: &Full) -> Status {
        shed(&self.shed, full)
    }
}

/// Notes that somebody was not let in, by the name that it gives itself if that
/// is known.
pub(super) fn log_refusal(peer: Option<SocketAddr>, who: Option<&str>, refused: &Status) {
    warn!(?peer, who, code = ?refused.code(), reason = refused.message(), "refused");
}

/// How a stream ends: with a status that says why, or without a word.
pub(super) enum End {
    Status(Status),
    Quiet,
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// An open session, as its stream has it.
pub(super) struct Visit {
    paced: Paced,
    patience: Duration,
    timer: ResettableTimer,
    end: EndOfVisit,
}

/// What happens in an open session.
pub(super) enum Happening<T> {
    /// The proxy said something, or its stream ended.
    Said(T),
    /// A report that was held back counts now; its number.
    Settled(u64),
    /// The session has to end.
    Notice(Notice),
}

impl Visit {
    fn new(paced: Paced, patience: Duration, metrics: SessionMetrics) -> Self {
        metrics.opened();
        let session = paced.session();
        let dataplane = Arc::clone(session.dataplane());
        let end = EndOfVisit { id: session.id(), dataplane, reason: EndReason::Lost, metrics };
        Self { paced, patience, timer: ResettableTimer::default(), end }
    }

    pub(super) fn id(&self) -> SessionId {
        self.end.id
    }

    pub(super) fn dataplane(&self) -> &Arc<Dataplane> {
        &self.end.dataplane
    }

    /// Waits for something to happen, of which `said` is one.
    pub(super) async fn next<T>(&mut self, said: impl Future<Output = T>) -> Happening<T> {
        let mut said = std::pin::pin!(said);
        loop {
            tokio::select! {
                biased;
                notice = self.paced.session().notice() => return Happening::Notice(notice),
                said = &mut said => return Happening::Said(said),
                () = self.timer.sleep_until(self.paced.due()) => {
                    if let Some(sequence) = self.paced.settle() {
                        return Happening::Settled(sequence);
                    }
                }
            }
        }
    }

    /// Takes a report.
    pub(super) fn report(&mut self, report: HealthReport) -> Taken {
        let taken = self.paced.report(report);
        if taken == Taken::Held {
            self.end.metrics.held();
        }
        taken
    }

    /// The proxy said that nothing is new.
    pub(super) fn alive(&self) {
        self.paced.alive();
    }

    /// Ends as the registry wants it: with this status, if with any.
    pub(super) fn heed(mut self, notice: Notice) -> Status {
        let (reason, status) = match notice {
            Notice::Superseded => {
                (EndReason::Superseded, Status::aborted("a newer session of this dataplane took over"))
            }
            Notice::Silent => {
                let status = format!("no health report within {:?}: report more often", self.patience);
                (EndReason::Idle, Status::deadline_exceeded(status))
            }
            Notice::Draining => (EndReason::Drained, draining()),
        };
        self.end.reason = reason;
        status
    }

    /// Ends because the proxy broke the protocol.
    pub(super) fn refuse(mut self, refused: &Status) {
        self.end.reason = EndReason::Refused;
        warn!(session = %self.end.id, dataplane = %self.end.dataplane.key, code = ?refused.code(),
            reason = refused.message(), "refused");
    }

    /// Ends the session and the registration.
    pub(super) fn goodbye(mut self) {
        self.end.reason = EndReason::Goodbye;
        self.paced.goodbye();
    }
}

/// Logs and counts the end of a session, however it comes about.
struct EndOfVisit {
    id: SessionId,
    dataplane: Arc<Dataplane>,
    reason: EndReason,
    metrics: SessionMetrics,
}

impl Drop for EndOfVisit {
    fn drop(&mut self) {
        self.metrics.ended(self.reason);
        let (session, dataplane, reason) = (self.id, &self.dataplane.key, self.reason.as_str());
        match self.reason {
            EndReason::Goodbye | EndReason::Drained => debug!(%session, %dataplane, reason, "disconnected"),
            _ => info!(%session, %dataplane, reason, "disconnected"),
        }
    }
}
