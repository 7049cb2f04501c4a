//! One proxy's stream.
//!
//! The response stream *is* the conversation: polled for the next thing to say,
//! it reads what the proxy says and holds the registry's guard. There is no
//! task and no queue per proxy. A proxy that does not read its acks is not read
//! from either, and when its stream is dropped, for whatever reason, so is the
//! guard: that is the disconnect.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout_at},
};
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::{
    dataplane::Dataplanes,
    status::{bad_message, draining},
};
use crate::{
    alarm::Alarm,
    metrics::{EndReason, SessionMetrics},
    model::Dataplane,
    proto::{
        self, Drain, HealthAck, HealthReport, Hello, SessionRequest, SessionResponse,
        session_request::Message as Said, session_response::Message as Answer,
    },
    registry::{self, Notice, Paced, SessionId, Taken},
    wire,
};

/// How long a drained proxy should stay away at least: a restart takes about a
/// second.
const DRAIN_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Over how much longer the returns of a few proxies are spread.
const LEAST_SPREAD: Duration = Duration::from_secs(1);

/// The stream that answers a proxy.
pub(super) fn converse(
    desk: Dataplanes,
    peer: Option<SocketAddr>,
    inbound: Streaming<SessionRequest>,
) -> impl Stream<Item = Result<SessionResponse, Status>> + Send {
    let hello_by = Instant::now() + desk.limits.hello_timeout;
    let conversation = Conversation { desk, peer, hello_by, inbound, phase: Phase::Opening };
    stream::unfold(conversation, |mut conversation| async {
        let answer = conversation.next().await?;
        Some((answer, conversation))
    })
}

struct Conversation {
    desk: Dataplanes,
    peer: Option<SocketAddr>,
    hello_by: Instant,
    inbound: Streaming<SessionRequest>,
    phase: Phase,
}

enum Phase {
    /// Nothing was said yet.
    Opening,
    /// The session is open.
    Open(Visit),
    /// The proxy was asked to leave; the stream's end follows.
    Drained,
    /// All is said.
    Over,
}

/// How a stream ends: with a status that says why, or without a word.
enum End {
    Status(Status),
    Quiet,
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Conversation {
    /// What to say next. The last thing may be an error; after it, nothing.
    async fn next(&mut self) -> Option<Result<SessionResponse, Status>> {
        let answer = match &mut self.phase {
            // Its future is the larger one, and short-lived: it does not stay in
            // the memory of each of ten thousand quiet sessions.
            Phase::Opening => Box::pin(self.open()).await,
            Phase::Open(_) => self.go_on().await,
            Phase::Drained => Err(draining().into()),
            Phase::Over => Err(End::Quiet),
        };
        match answer {
            Ok(answer) => Some(Ok(SessionResponse { message: Some(answer) })),
            Err(end) => {
                self.phase = Phase::Over;
                match end {
                    End::Status(status) => Some(Err(status)),
                    End::Quiet => None,
                }
            }
        }
    }

    /// Waits for the hello.
    async fn open(&mut self) -> Result<Answer, End> {
        let first = tokio::select! {
            biased;
            () = self.desk.shutdown.cancelled() => return Err(draining().into()),
            first = timeout_at(self.hello_by, self.inbound.message()) => first,
        };
        let limit = self.desk.limits.hello_timeout;
        let first = first.map_err(|_| {
            Status::deadline_exceeded(format!("no hello within {limit:?}: it must be the first message"))
        })?;
        let refused = match first {
            Ok(Some(SessionRequest { message: Some(Said::Hello(hello)) })) => match self.greet(hello).await {
                Ok(welcome) => return Ok(Answer::Welcome(welcome)),
                Err(status) => status,
            },
            Ok(Some(SessionRequest { message: Some(Said::Health(_)) })) => before_hello("health"),
            Ok(Some(SessionRequest { message: Some(Said::Goodbye(_)) })) => before_hello("goodbye"),
            Ok(Some(SessionRequest { message: None })) => empty_message(),
            Ok(None) => return Err(End::Quiet),
            Err(status) => bad_message(&status).ok_or(End::Quiet)?,
        };
        warn!(peer = ?self.peer, code = ?refused.code(), reason = refused.message(), "refused");
        Err(refused.into())
    }

    async fn greet(&mut self, hello: Hello) -> Result<proto::Welcome, Status> {
        let dataplane = wire::dataplane_from_hello(hello, self.desk.limits.dataplane)?;
        let admitted = self.desk.registry.admit(&dataplane.key);
        let hello_at = admitted.map_err(|full| self.desk.shed(&full))?;
        // No timer for the many who need not wait: it would take a millisecond.
        if hello_at > Instant::now() {
            tokio::select! {
                biased;
                () = self.desk.shutdown.cancelled() => return Err(draining()),
                () = sleep_until(hello_at) => {}
            }
        }
        let welcome = self.desk.registry.hello(dataplane);
        let registry::Welcome { session, warnings } = welcome.map_err(|full| self.desk.shed(&full))?;
        let dataplane = session.dataplane();
        debug!(session = %session.id(), dataplane = %dataplane.key, peer = ?self.peer, "connected");
        let welcome = proto::Welcome {
            session_id: session.id().to_string(),
            workload: dataplane.workload_key().map(|key| wire::workload_ref(&key, &dataplane.key.mesh)),
            warnings,
        };
        self.phase = Phase::Open(Visit::new(
            self.desk.registry.pace(session, self.desk.limits.idle_timeout),
            self.desk.metrics.clone(),
        ));
        Ok(welcome)
    }

    /// Waits for something to answer in an open session.
    async fn go_on(&mut self) -> Result<Answer, End> {
        loop {
            if let Some(answer) = self.hear().await? {
                return Ok(answer);
            }
        }
    }

    /// Waits for something to happen in an open session; none if it needs no
    /// answer yet.
    async fn hear(&mut self) -> Result<Option<Answer>, End> {
        let Phase::Open(visit) = &mut self.phase else {
            return Err(End::Quiet);
        };
        let Visit { paced, alarm, .. } = visit;
        let due = paced.due();
        let said = tokio::select! {
            biased;
            notice = paced.session().notice() => return self.heed(notice).map(Some),
            said = self.inbound.message() => said,
            () = alarm.at(due) => return Ok(paced.settle().map(ack)),
        };
        let refused = match said {
            Ok(Some(SessionRequest { message: Some(Said::Health(report)) })) => match visit.take(&report) {
                Ok(Taken::Seen) => {
                    // The watchers whom the change has woken need not wait until
                    // this connection has written its ack.
                    yield_now().await;
                    return Ok(Some(ack(report.sequence)));
                }
                Ok(Taken::Unseen) => return Ok(Some(ack(report.sequence))),
                Ok(Taken::Held) => return Ok(None),
                Err(status) => status,
            },
            Ok(Some(SessionRequest { message: Some(Said::Goodbye(_)) })) => {
                self.say_goodbye();
                return Err(End::Quiet);
            }
            Ok(Some(SessionRequest { message: Some(Said::Hello(_)) })) => Status::failed_precondition(
                "hello: was said already; open a new stream to state another dataplane",
            ),
            Ok(Some(SessionRequest { message: None })) => empty_message(),
            Ok(None) => return Err(End::Quiet),
            Err(status) => bad_message(&status).ok_or(End::Quiet)?,
        };
        visit.end.reason = EndReason::Refused;
        warn!(session = %visit.end.id, dataplane = %visit.end.dataplane.key, code = ?refused.code(),
            reason = refused.message(), "refused");
        Err(refused.into())
    }

    /// Passes on what the registry has to say. With it the session is over.
    fn heed(&mut self, notice: Notice) -> Result<Answer, End> {
        let idle_timeout = self.desk.limits.idle_timeout;
        let (reason, answer) = match notice {
            Notice::Superseded => {
                let status = Status::aborted("a newer session of this dataplane took over");
                (EndReason::Superseded, Err(status.into()))
            }
            Notice::Silent => {
                let status = format!("no health report within {idle_timeout:?}: send one every 30s");
                (EndReason::Idle, Err(Status::deadline_exceeded(status).into()))
            }
            Notice::Draining => (EndReason::Drained, Ok(Answer::Drain(self.drain()))),
        };
        if let Phase::Open(mut visit) = std::mem::replace(&mut self.phase, Phase::Drained) {
            visit.end.reason = reason;
        }
        answer
    }

    /// Asks the proxy to leave and to come back: each at another time, over so
    /// long that all can be let in again.
    fn drain(&self) -> Drain {
        let spread = self.desk.registry.time_to_return().max(LEAST_SPREAD);
        let retry_after = DRAIN_RETRY_AFTER + spread.mul_f64(fastrand::f64());
        Drain { retry_after: Some(wire::duration(retry_after)), reason: "the server is draining".into() }
    }

    fn say_goodbye(&mut self) {
        if let Phase::Open(mut visit) = std::mem::replace(&mut self.phase, Phase::Over) {
            visit.end.reason = EndReason::Goodbye;
            visit.paced.goodbye();
        }
    }
}

fn before_hello(what: &str) -> Status {
    Status::failed_precondition(format!("{what}: came before hello, which must be the first message"))
}

fn empty_message() -> Status {
    Status::invalid_argument("message: is required: set hello, health or goodbye")
}

fn ack(sequence: u64) -> Answer {
    Answer::Ack(HealthAck { sequence })
}

/// An open session.
struct Visit {
    paced: Paced,
    last_sequence: u64,
    alarm: Alarm,
    end: EndOfVisit,
}

impl Visit {
    fn new(paced: Paced, metrics: SessionMetrics) -> Self {
        metrics.opened();
        let session = paced.session();
        let dataplane = Arc::clone(session.dataplane());
        let end = EndOfVisit { id: session.id(), dataplane, reason: EndReason::Lost, metrics };
        Self { paced, last_sequence: 0, alarm: Alarm::default(), end }
    }

    fn take(&mut self, report: &HealthReport) -> Result<Taken, Status> {
        let report = wire::report_from_proto(report, &self.end.dataplane, self.last_sequence)?;
        self.last_sequence = report.sequence;
        let taken = self.paced.report(report);
        if taken == Taken::Held {
            self.end.metrics.held();
        }
        Ok(taken)
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
