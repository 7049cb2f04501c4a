//! One open session, for the streams of both protocols.

use std::{
    future::{Future, pending},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Status;
use tracing::{debug, info, warn};

use super::StreamClient;
use crate::{
    access::{Action, Ended, OwnedObject},
    audit::{AuditedCall, AuditedCaller, Operation, Subject},
    convert,
    grpc::{
        connection::ConnectionAge,
        status::{aged_connection, draining, superseded},
    },
    model::{Dataplane, HealthReport},
    proto::CredentialAck,
    registry::{Notice, ReportOutcome, Session, SessionId},
    runtime::resettable_timer::ResettableTimer,
    telemetry::metrics::{EndReason, SessionMetrics},
};

/// An open session with its timer, its log lines and its metrics. Dropping it is the
/// loss of the session.
pub(super) struct ActiveSession {
    session: Session,
    idle_timeout: Duration,
    flush_timer: ResettableTimer,
    /// Boxed, because most servers have no maximum age.
    aged: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    right: AuditedCall,
    end: EndRecord,
}

/// What happens in an open session.
pub(super) enum SessionEvent<T> {
    /// The client sent a message, or its stream ended.
    Message(T),
    /// The deferred report with this sequence number has taken effect.
    Flushed(u64),
    /// The registry requires the session to end.
    Notice(Notice),
    /// The connection has reached its maximum age.
    Aged,
    /// The client has lost the right to the session.
    RightEnded(Ended),
}

impl ActiveSession {
    pub(super) fn new(
        session: Session,
        idle_timeout: Duration,
        age: &ConnectionAge,
        right: AuditedCall,
        metrics: SessionMetrics,
    ) -> Self {
        metrics.opened();
        right.on_end(session.loss());
        let dataplane = Arc::clone(session.dataplane());
        let end = EndRecord { id: session.id(), dataplane, reason: EndReason::Lost, metrics };
        let (flush_timer, aged) = (ResettableTimer::default(), age.reached());
        Self { session, idle_timeout, flush_timer, aged, right, end }
    }

    pub(super) fn id(&self) -> SessionId {
        self.session.id()
    }

    pub(super) fn dataplane(&self) -> &Arc<Dataplane> {
        self.session.dataplane()
    }

    /// Waits for the next event. The future `message` resolves to the client's next
    /// message.
    pub(super) async fn next<T>(&mut self, message: impl Future<Output = T>) -> SessionEvent<T> {
        let mut message = pin!(message);
        let Self { session, flush_timer, aged, right, .. } = self;
        // First, because a client can always have another message ready.
        if right.has_ended() {
            return SessionEvent::RightEnded(right.ended().await);
        }
        loop {
            tokio::select! {
                biased;
                notice = session.notice() => return SessionEvent::Notice(notice),
                message = &mut message => return SessionEvent::Message(message),
                () = wait(aged) => return SessionEvent::Aged,
                ended = right.ended() => return SessionEvent::RightEnded(ended),
                () = flush_timer.sleep_until(session.next_flush()) => {
                    if let Some(sequence) = session.flush() {
                        return SessionEvent::Flushed(sequence);
                    }
                }
            }
        }
    }

    pub(super) fn report(&mut self, report: HealthReport) -> ReportOutcome {
        let outcome = self.session.report(report);
        if outcome == ReportOutcome::Deferred {
            self.end.metrics.deferred();
        }
        outcome
    }

    /// Records activity without a report.
    pub(super) fn touch(&self) {
        self.session.touch();
    }

    /// Ends the session as the registry requires, and returns the status for its stream.
    pub(super) fn on_notice(mut self, notice: Notice) -> Status {
        let (reason, status) = match notice {
            Notice::Superseded => (EndReason::Superseded, superseded(self.session.successor())),
            Notice::Idle => {
                let message =
                    format!("no report or heartbeat within {:?}: send one more often", self.idle_timeout);
                (EndReason::Idle, Status::deadline_exceeded(message))
            }
            Notice::Draining => (EndReason::Drained, draining()),
        };
        self.end.reason = reason;
        status
    }

    /// Ends the session because its connection is too old, and returns the status for its stream.
    pub(super) fn on_aged(mut self) -> Status {
        self.end.reason = EndReason::Aged;
        aged_connection()
    }

    /// Replaces the credential that proves the client's right to the session by the one of `caller`.
    ///
    /// # Errors
    ///
    /// If it is not for the dataplane.
    pub(super) fn renew(
        &mut self,
        client: &mut StreamClient,
        caller: AuditedCaller,
    ) -> Result<CredentialAck, Status> {
        let dataplane = OwnedObject::Dataplane(Arc::clone(self.dataplane()));
        self.right = caller.allow_live(Action::RegisterDataplane, dataplane)?;
        self.right.on_end(self.session.loss());
        let expires = caller.caller().credential().and_then(|credential| credential.expires);
        client.caller = caller;
        self.record(client, Operation::RenewSession);
        Ok(CredentialAck { expires_at: expires.map(convert::timestamp) })
    }

    /// Ends the session because its client has lost the right to it, and returns the status for its
    /// stream.
    pub(super) fn on_right_ended(mut self, ended: Ended) -> Status {
        self.end.reason = EndReason::Unauthorized;
        ended.into()
    }

    /// Ends the session because its client violated the protocol.
    pub(super) fn reject(mut self, rejected: &Status) {
        self.end.reason = EndReason::Refused;
        warn!(session = %self.end.id, dataplane = %self.end.dataplane.key, code = ?rejected.code(),
            reason = rejected.message(), "refused");
    }

    /// Ends the session and the registration.
    pub(super) fn goodbye(mut self, client: &StreamClient) {
        self.record(client, Operation::Unregister);
        self.end.reason = EndReason::Goodbye;
        self.session.goodbye();
    }

    fn record(&self, client: &StreamClient, operation: Operation) {
        let (object, id) = (Subject::Dataplane(&self.end.dataplane.key), self.end.id);
        client.caller.done(operation, object, &format_args!("session {id}"));
    }
}

async fn wait(aged: &mut Option<Pin<Box<WaitForCancellationFutureOwned>>>) {
    match aged {
        Some(aged) => aged.await,
        None => pending().await,
    }
}

/// Logs and counts the end of a session when it is dropped, however the session ended.
struct EndRecord {
    id: SessionId,
    dataplane: Arc<Dataplane>,
    reason: EndReason,
    metrics: SessionMetrics,
}

impl Drop for EndRecord {
    fn drop(&mut self) {
        self.metrics.ended(self.reason);
        let (session, dataplane, reason) = (self.id, &self.dataplane.key, self.reason.as_str());
        match self.reason {
            EndReason::Goodbye | EndReason::Drained | EndReason::Aged => {
                debug!(%session, %dataplane, reason, "disconnected");
            }
            _ => info!(%session, %dataplane, reason, "disconnected"),
        }
    }
}
