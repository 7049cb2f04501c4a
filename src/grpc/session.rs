//! One proxy's stream.
//!
//! The response stream *is* the conversation: polled for the next thing to say,
//! it reads what the proxy says and holds the registry's guard. There is no
//! task and no queue per proxy. A proxy that does not read its acks is not read
//! from either, and when its stream is dropped, for whatever reason, so is the
//! guard: that is the disconnect.

use std::{net::SocketAddr, time::Duration};

use futures_util::{Stream, stream};
use tokio::task::yield_now;
use tonic::{Status, Streaming};

use super::{
    dataplane::Dataplanes,
    reception::{End, Happening, Visit, log_refusal},
    status::{bad_message, draining},
};
use crate::{
    convert,
    proto::{
        self, Drain, HealthAck, HealthReport, Hello, SessionRequest, SessionResponse,
        session_request::Message as Said, session_response::Message as Answer,
    },
    registry::{Caller, Endurance, Notice, Taken},};

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
    let conversation = Conversation { desk, peer, inbound, phase: Phase::Opening };
    stream::unfold(conversation, |mut conversation| async {
        let answer = conversation.next().await?;
        Some((answer, conversation))
    })
}

struct Conversation {
    desk: Dataplanes,
    peer: Option<SocketAddr>,
    inbound: Streaming<SessionRequest>,
    phase: Phase,
}

enum Phase {
    /// Nothing was said yet.
    Opening,
    /// The session is open.
    Open {
        visit: Visit,
        /// Of the newest report.
        sequence: u64,
    },
    /// The proxy was asked to leave; the stream's end follows.
    Drained,
    /// All is said.
    Over,
}

impl Conversation {
    /// What to say next. The last thing may be an error; after it, nothing.
    async fn next(&mut self) -> Option<Result<SessionResponse, Status>> {
        let answer = match &mut self.phase {
            // Its future is the larger one, and short-lived: it does not stay in
            // the memory of each of ten thousand quiet sessions.
            Phase::Opening => Box::pin(self.open()).await,
            Phase::Open { .. } => self.go_on().await,
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
        let within = self.desk.limits.hello_timeout;
        let first = self.desk.reception.first("hello", within, self.inbound.message()).await?;
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
        log_refusal(self.peer, None, &refused);
        Err(refused.into())
    }

    async fn greet(&mut self, hello: Hello) -> Result<proto::Welcome, Status> {
        let limits = &self.desk.limits;
        let attempt = convert::attempt(&hello);
        let dataplane = convert::dataplane_from_hello(hello, limits.dataplane)?;
        let endurance = Endurance { silence: limits.idle_timeout, start: Duration::ZERO };
        let reception = &self.desk.reception;
        let let_in = reception.let_in(dataplane, attempt, Caller::Patient, endurance, self.peer);
        let (visit, warnings) = let_in.await?;
        let dataplane = visit.dataplane();
        let welcome = proto::Welcome {
            session_id: visit.id().to_string(),
            workload: dataplane.workload_key().map(|key| convert::workload_ref(&key, &dataplane.key.mesh)),
            warnings,
        };
        self.phase = Phase::Open { visit, sequence: 0 };
        Ok(welcome)
    }

    /// Waits for something to answer in an open session.
    async fn go_on(&mut self) -> Result<Answer, End> {
        while let Phase::Open { visit, sequence } = &mut self.phase {
            let said = match visit.next(self.inbound.message()).await {
                Happening::Said(said) => said,
                Happening::Settled(sequence) => return Ok(ack(sequence)),
                Happening::Notice(notice) => return self.heed(notice),
            };
            let refused = match said {
                Ok(Some(SessionRequest { message: Some(Said::Health(report)) })) => {
                    match take(visit, sequence, &report) {
                        Ok(Taken::Seen) => {
                            // The watchers whom the change has woken need not wait
                            // until this connection has written its ack.
                            yield_now().await;
                            return Ok(ack(report.sequence));
                        }
                        Ok(Taken::Unseen) => return Ok(ack(report.sequence)),
                        Ok(Taken::Held) => continue,
                        Err(status) => status,
                    }
                }
                Ok(Some(SessionRequest { message: Some(Said::Goodbye(_)) })) => {
                    self.leave(Visit::goodbye);
                    return Err(End::Quiet);
                }
                Ok(Some(SessionRequest { message: Some(Said::Hello(_)) })) => Status::failed_precondition(
                    "hello: was said already; open a new stream to state another dataplane",
                ),
                Ok(Some(SessionRequest { message: None })) => empty_message(),
                Ok(None) => return Err(End::Quiet),
                Err(status) => bad_message(&status).ok_or(End::Quiet)?,
            };
            self.leave(|visit| visit.refuse(&refused));
            return Err(refused.into());
        }
        Err(End::Quiet)
    }

    /// Passes on what the registry has to say. With it the session is over.
    fn heed(&mut self, notice: Notice) -> Result<Answer, End> {
        let status = self.leave(|visit| visit.heed(notice)).ok_or(End::Quiet)?;
        if notice == Notice::Draining {
            self.phase = Phase::Drained;
            return Ok(Answer::Drain(self.drain()));
        }
        Err(status.into())
    }

    /// Ends the session; none if there is none.
    fn leave<T>(&mut self, how: impl FnOnce(Visit) -> T) -> Option<T> {
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Open { visit, .. } => Some(how(visit)),
            _ => None,
        }
    }

    /// Asks the proxy to leave and to come back: each at another time, over so
    /// long that all can be let in again.
    fn drain(&self) -> Drain {
        let spread = self.desk.reception.registry.time_to_return().max(LEAST_SPREAD);
        let retry_after = DRAIN_RETRY_AFTER + spread.mul_f64(fastrand::f64());
        Drain { retry_after: Some(convert::duration(retry_after)), reason: "the server is draining".into() }
    }
}

fn take(visit: &mut Visit, sequence: &mut u64, report: &HealthReport) -> Result<Taken, Status> {
    let report = convert::report_from_proto(report, visit.dataplane(), *sequence)?;
    *sequence = report.sequence;
    Ok(visit.report(report))
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
