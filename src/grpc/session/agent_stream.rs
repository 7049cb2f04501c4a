//! One stream of `DataplaneService.Session`.
//!
//! The response stream holds the session's guard and does all its work: when tonic polls
//! it for the next response, it reads the client's messages. A session has no task and no
//! queue. So the server reads nothing from a client that does not read its
//! acknowledgements, and when tonic drops the stream, for any reason, the session ends.

use std::{future::pending, mem, pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream};
use tokio::task::{coop::consume_budget, yield_now};
use tonic::{Code, Status, Streaming};

use super::{
    End, Renewed, StreamClient,
    active::{ActiveSession, SessionEvent},
    admission::SessionAdmission,
};
use crate::{
    access::Ended,
    config::Limits,
    convert,
    grpc::status::malformed,
    net::rejection::rejection,
    proto::{
        self, Credential, Drain, HealthAck, HealthReport, HeartbeatAck, Hello, SessionRequest,
        SessionResponse, session_request::Message as Request, session_response::Message as Response,
    },
    registry::{Client, ConnectOptions, Notice, ReportOutcome},
};

/// The shortest delay before a drained client reconnects: a restart takes about a second.
const MIN_DRAIN_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The shortest time over which the reconnects of drained clients are spread.
const MIN_DRAIN_SPREAD: Duration = Duration::from_secs(1);

/// The least delay of a heartbeat that is tolerated: a busy host may pause for nearly as long.
const MIN_HEARTBEAT_DELAY: Duration = Duration::from_secs(1);

/// The state of one stream.
pub(in crate::grpc) struct AgentStream {
    admission: SessionAdmission,
    limits: Arc<Limits>,
    client: StreamClient,
    inbound: Streaming<SessionRequest>,
    phase: Phase,
}

/// What a client does in an open session.
enum Inbound {
    /// It sends a message, or its stream ends.
    Message(Result<Option<SessionRequest>, Status>),
    /// The token that it has sent was verified.
    Renewed(Renewed),
}

/// Verifies a new token, which may wait for the cluster's keys.
type Renewal = Pin<Box<dyn Future<Output = Renewed> + Send>>;

enum Phase {
    /// The stream waits for the hello.
    Opening,
    /// The session is open.
    Open {
        session: ActiveSession,
        /// The sequence number of the latest report.
        sequence: u64,
        /// Verifies the client's new token; none if there is no such token.
        renewal: Option<Renewal>,
    },
    /// A `Drain` was sent; the status that ends the stream follows.
    Drained(Status),
    /// The stream has ended.
    Ended,
}

impl AgentStream {
    pub(in crate::grpc) fn new(
        admission: SessionAdmission,
        limits: Arc<Limits>,
        client: StreamClient,
        inbound: Streaming<SessionRequest>,
    ) -> Self {
        Self { admission, limits, client, inbound, phase: Phase::Opening }
    }

    /// The responses to the client.
    pub(in crate::grpc) fn responses(self) -> impl Stream<Item = Result<SessionResponse, Status>> + Send {
        stream::unfold(self, |mut stream| async {
            let response = stream.next().await?;
            Some((response, stream))
        })
    }

    /// The next response. The last one may be an error.
    async fn next(&mut self) -> Option<Result<SessionResponse, Status>> {
        let response = match &mut self.phase {
            // Boxed, because it is larger than the others and short-lived: it does not
            // stay in the memory of ten thousand quiet sessions.
            Phase::Opening => Box::pin(self.open()).await,
            Phase::Open { .. } => self.run().await,
            Phase::Drained(status) => Err(status.clone().into()),
            Phase::Ended => Err(End::WithoutStatus),
        };
        match response {
            Ok(response) => Some(Ok(SessionResponse { message: Some(response) })),
            Err(end) => {
                self.phase = Phase::Ended;
                match end {
                    End::Status(status) => Some(Err(status)),
                    End::WithoutStatus => None,
                }
            }
        }
    }

    /// Waits for the hello.
    async fn open(&mut self) -> Result<Response, End> {
        let timeout = self.limits.hello_timeout;
        let first = self.admission.first_message("hello", timeout, self.inbound.message()).await?;
        let rejected = match first {
            Ok(Some(SessionRequest { message: Some(Request::Hello(hello)) })) => {
                match self.connect(hello).await {
                    Ok(welcome) => return Ok(Response::Welcome(welcome)),
                    Err(status) => status,
                }
            }
            Ok(Some(SessionRequest { message: Some(Request::Health(_)) })) => before_hello("health"),
            Ok(Some(SessionRequest { message: Some(Request::Heartbeat(_)) })) => before_hello("heartbeat"),
            Ok(Some(SessionRequest { message: Some(Request::Goodbye(_)) })) => before_hello("goodbye"),
            Ok(Some(SessionRequest { message: Some(Request::Credential(_)) })) => before_hello("credential"),
            Ok(Some(SessionRequest { message: None })) => empty_message(),
            Ok(None) => return Err(End::WithoutStatus),
            Err(status) => malformed(&status).ok_or(End::WithoutStatus)?,
        };
        self.admission.on_rejected(self.client.peer(), None, &rejected);
        Err(rejected.into())
    }

    async fn connect(&mut self, hello: Hello) -> Result<proto::Welcome, Status> {
        let Limits { idle_timeout, keepalive_timeout, .. } = *self.limits;
        let delay = keepalive_timeout.max(MIN_HEARTBEAT_DELAY);
        let heartbeat_timeout = convert::heartbeat_interval(&hello)?.map(|interval| interval + delay);
        let options = ConnectOptions {
            client: Client { attempt: convert::attempt(&hello), peer: self.client.peer() },
            ..ConnectOptions::new(heartbeat_timeout.unwrap_or(idle_timeout))
        };
        let dataplane = convert::dataplane_from_hello(hello, self.limits.dataplane)?;
        let (session, warnings) = self.admission.admit(dataplane, options, &self.client).await?;
        let dataplane = session.dataplane();
        let welcome = proto::Welcome {
            session_id: session.id().to_string(),
            workload: dataplane.workload_key().map(|key| convert::workload_ref(&key, &dataplane.key.mesh)),
            warnings,
            heartbeat_timeout: heartbeat_timeout.map(convert::duration),
            accepts_credentials: self.client.has_token(),
        };
        self.phase = Phase::Open { session, sequence: 0, renewal: None };
        Ok(welcome)
    }

    /// Reads messages in an open session until there is a response to send.
    async fn run(&mut self) -> Result<Response, End> {
        while let Phase::Open { session, sequence, renewal } = &mut self.phase {
            // A client whose reports are all deferred may not starve the other tasks of this worker.
            consume_budget().await;
            let inbound = async {
                tokio::select! {
                    biased;
                    renewed = renewed(renewal) => Inbound::Renewed(renewed),
                    message = self.inbound.message() => Inbound::Message(message),
                }
            };
            let message = match session.next(inbound).await {
                SessionEvent::Message(Inbound::Message(message)) => message,
                SessionEvent::Message(Inbound::Renewed(renewed)) => return self.on_renewed(renewed),
                SessionEvent::Flushed(sequence) => return Ok(ack(sequence)),
                SessionEvent::Notice(notice) => return self.on_notice(notice),
                SessionEvent::Aged => return self.on_aged(),
                SessionEvent::RightEnded(ended) => return self.on_right_ended(ended),
            };
            let rejected = match message {
                Ok(Some(SessionRequest { message: Some(Request::Health(report)) })) => {
                    match apply(session, sequence, &report) {
                        Ok(ReportOutcome::Visible) => {
                            // Lets the watchers that were woken run before this connection
                            // writes its acknowledgement.
                            yield_now().await;
                            return Ok(ack(report.sequence));
                        }
                        Ok(ReportOutcome::Unchanged) => return Ok(ack(report.sequence)),
                        Ok(ReportOutcome::Deferred) => continue,
                        Err(status) => status,
                    }
                }
                Ok(Some(SessionRequest { message: Some(Request::Heartbeat(_)) })) => {
                    session.touch();
                    return Ok(Response::HeartbeatAck(HeartbeatAck {}));
                }
                Ok(Some(SessionRequest { message: Some(Request::Goodbye(_)) })) => {
                    if let Phase::Open { session, .. } = mem::replace(&mut self.phase, Phase::Ended) {
                        session.goodbye(&self.client);
                    }
                    return Err(End::WithoutStatus);
                }
                Ok(Some(SessionRequest { message: Some(Request::Hello(_)) })) => rejection(
                    Code::FailedPrecondition,
                    "hello: was sent already; open a new stream to declare another dataplane",
                ),
                Ok(Some(SessionRequest { message: Some(Request::Credential(_)) }))
                    if !self.client.has_token() =>
                {
                    rejection(
                        Code::FailedPrecondition,
                        "credential: no token has opened the session (accepts_credentials): send none, or open \
                         a new stream with the token",
                    )
                }
                Ok(Some(SessionRequest { message: Some(Request::Credential(Credential { token })) })) => {
                    session.touch();
                    // It replaces a token that is still being verified.
                    *renewal = Some(Box::pin(self.client.clone().renew(token)));
                    continue;
                }
                Ok(Some(SessionRequest { message: None })) => empty_message(),
                Ok(None) => return Err(End::WithoutStatus),
                Err(status) => malformed(&status).ok_or(End::WithoutStatus)?,
            };
            self.end(|session| session.reject(&rejected));
            return Err(rejected.into());
        }
        Err(End::WithoutStatus)
    }

    /// Ends the session as the registry requires.
    fn on_notice(&mut self, notice: Notice) -> Result<Response, End> {
        let status = self.end(|session| session.on_notice(notice)).ok_or(End::WithoutStatus)?;
        if notice == Notice::Draining {
            self.phase = Phase::Drained(status);
            return Ok(Response::Drain(self.drain()));
        }
        Err(status.into())
    }

    /// Acknowledges the client's new token, or ends the session because that is not valid.
    fn on_renewed(&mut self, renewed: Renewed) -> Result<Response, End> {
        let Phase::Open { session, .. } = &mut self.phase else { return Err(End::WithoutStatus) };
        let rejected = match renewed.and_then(|caller| session.renew(&mut self.client, caller)) {
            Ok(ack) => return Ok(Response::CredentialAck(ack)),
            Err(status) => status,
        };
        self.end(|session| session.reject(&rejected));
        Err(rejected.into())
    }

    /// Asks the client to reconnect at once. Ages differ, so clients that connected together do not
    /// reconnect together.
    fn on_aged(&mut self) -> Result<Response, End> {
        let status = self.end(ActiveSession::on_aged).ok_or(End::WithoutStatus)?;
        let reason = status.message().to_owned();
        self.phase = Phase::Drained(status);
        Ok(Response::Drain(Drain { retry_after: Some(convert::duration(Duration::ZERO)), reason }))
    }

    /// Ends the session because its client has lost the right to it.
    fn on_right_ended(&mut self, ended: Ended) -> Result<Response, End> {
        Err(self.end(|session| session.on_right_ended(ended)).ok_or(End::WithoutStatus)?.into())
    }

    /// Passes the open session to `end`, which consumes it; none if no session is open.
    fn end<T>(&mut self, end: impl FnOnce(ActiveSession) -> T) -> Option<T> {
        match mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Open { session, .. } => Some(end(session)),
            _ => None,
        }
    }

    /// Asks the client to reconnect after a random delay. The delays are spread over the
    /// time that it takes to admit all clients again.
    fn drain(&self) -> Drain {
        let spread = self.admission.drain_spread().max(MIN_DRAIN_SPREAD);
        let retry_after = MIN_DRAIN_RETRY_AFTER + spread.mul_f64(fastrand::f64());
        Drain { retry_after: Some(convert::duration(retry_after)), reason: "the server is draining".into() }
    }
}

/// Waits until the new token is verified; forever if there is none.
async fn renewed(renewal: &mut Option<Renewal>) -> Renewed {
    let Some(verification) = renewal else { return pending().await };
    let renewed = verification.await;
    *renewal = None;
    renewed
}

fn apply(
    session: &mut ActiveSession,
    sequence: &mut u64,
    report: &HealthReport,
) -> Result<ReportOutcome, Status> {
    let report = convert::report_from_proto(report, session.dataplane(), *sequence)?;
    *sequence = report.sequence;
    Ok(session.report(report))
}

fn before_hello(message: &str) -> Status {
    rejection(
        Code::FailedPrecondition,
        format!("{message}: came before hello, which must be the first message"),
    )
}

fn empty_message() -> Status {
    rejection(Code::InvalidArgument, "message: is required: set hello, health, heartbeat or goodbye")
}

fn ack(sequence: u64) -> Response {
    Response::Ack(HealthAck { sequence })
}
