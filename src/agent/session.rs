//! One session with the server, from the hello to the end of the stream.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, Streaming};

use super::{
    credentials::CredentialRefresh,
    end::SessionEnd,
    heartbeats::{self, HEARTBEAT_INTERVAL, HeartbeatSchedule},
    reports::ReportSchedule,
};
use crate::{
    convert,
    model::{Attempt, Dataplane, Health},
    net::client::{Connection, Token},
    proto::{
        Credential, Goodbye, Heartbeat, Hello, SessionRequest, SessionResponse, Welcome,
        dataplane_service_client::DataplaneServiceClient, session_request::Message as ClientMessage,
        session_response::Message as ServerMessage,
    },
    runtime::resettable_timer::ResettableTimer,
};

/// Longest time from the hello to the welcome; the same as the server's default `--hello-timeout`.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time from a report to its ack, which the server defers if the health changes often.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time from a credential to its ack: the server waits up to 30 s for the key of a
/// `ServiceAccount` token. The session continues meanwhile.
const CREDENTIAL_ACK_TIMEOUT: Duration = Duration::from_secs(35);
/// Longest time to read the token file, which may be on a slow disk.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time from the goodbye to the end of the stream. It is short because the process is being
/// stopped, and its supervisor kills it after a grace period.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time between two reports, as the protocol requires. Each report has the whole health, so the
/// next one repairs a report that the server lost.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// Capacity of the queue of outbound messages: one report, one heartbeat, one credential, and a goodbye after
/// them. The next report, heartbeat or credential waits for the ack of the one before.
const OUTBOUND_CAPACITY: usize = 4;

/// The inputs of one session. Many sessions may share a connection.
#[derive(Debug)]
pub struct Session {
    /// A connection to the server.
    pub connection: Connection,
    /// The dataplane that the session registers.
    pub dataplane: Arc<Dataplane>,
    /// The attempt that the hello states.
    pub attempt: Attempt,
    /// Health of the dataplane. When the sender is dropped, the last value is reported from then on.
    pub health: watch::Receiver<Health>,
    /// Cancel to unregister the dataplane: the session sends a goodbye and ends.
    pub leave: CancellationToken,
}

/// An event within a session, for logs and measurements.
#[derive(Debug, Clone, Copy)]
pub enum SessionEvent<'a> {
    /// The server has accepted the hello.
    Welcomed(&'a Welcome),
    /// The server has acknowledged a report.
    Acked {
        /// Time from sending the report to receiving its ack.
        after: Duration,
    },
}

impl Session {
    /// Runs the session to its end. `observe` is called on the session's task and must not block.
    pub async fn run(mut self, mut observe: impl FnMut(SessionEvent<'_>)) -> SessionEnd {
        self.try_run(&mut observe).await.unwrap_or_else(SessionEnd::from)
    }

    async fn try_run(&mut self, observe: &mut impl FnMut(SessionEvent<'_>)) -> Result<SessionEnd, Status> {
        let (requests, outbound) = mpsc::channel(OUTBOUND_CAPACITY);
        send(&requests, ClientMessage::Hello(hello(&self.dataplane, self.attempt)));
        let token = with_timeout(TOKEN_TIMEOUT, "no token", self.read_token()).await?;
        let mut opening = pin!(open(self.connection.clone(), token.clone(), ReceiverStream::new(outbound)));
        let (welcome, mut responses) = tokio::select! {
            biased;
            opened = with_timeout(WELCOME_TIMEOUT, "no welcome", &mut opening) => opened?,
            () = self.leave.cancelled() => {
                // The server may have read the hello already, so the goodbye follows it, and the
                // session waits for the end of the stream.
                return close(requests, async { read_to_end(opening.await?.1).await }).await;
            }
        };
        observe(SessionEvent::Welcomed(&welcome));

        let mut reports = ReportSchedule::new();
        let mut heartbeats = HeartbeatSchedule::new(welcome.heartbeat_timeout.is_some(), Instant::now());
        let mut heartbeat_timer = ResettableTimer::default();
        let mut credentials = token
            .filter(|_| welcome.accepts_credentials)
            .map(|token| CredentialRefresh::new(self.connection.clone(), token));
        let mut health_may_change = true;
        let mut report_interval = time::interval(REPORT_INTERVAL);
        report_interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let latest = || *self.health.borrow_and_update();
            let now = Instant::now();
            if let Some(report) = reports.next(latest, now) {
                heartbeats.message_sent(now);
                send(&requests, ClientMessage::Health(convert::report_to_proto(report, &self.dataplane)));
                report_interval.reset();
            }
            // A fixed order of the branches makes a simulation with a given seed repeatable.
            tokio::select! {
                biased;
                response = responses.message() => match response?.map(|response| response.message) {
                    Some(Some(ServerMessage::Ack(ack))) => {
                        if let Some(sent_at) = reports.acked(ack.sequence) {
                            observe(SessionEvent::Acked { after: sent_at.elapsed() });
                        }
                    }
                    Some(Some(ServerMessage::HeartbeatAck(_))) => heartbeats.acked(),
                    Some(Some(ServerMessage::CredentialAck(_))) => {
                        if let Some(credentials) = &mut credentials {
                            credentials.acked();
                        }
                    }
                    // Without a goodbye the dataplane stays registered until it reconnects.
                    Some(Some(ServerMessage::Drain(drain))) => return Ok(drain.into()),
                    // A second welcome, or a message type of a newer server.
                    Some(Some(ServerMessage::Welcome(_)) | None) => {}
                    None => return Err(Status::unavailable("the server ended the session without a reason")),
                },
                changed = self.health.changed(), if health_may_change => match changed {
                    Ok(()) => reports.request(),
                    Err(_) => health_may_change = false,
                },
                _ = report_interval.tick() => reports.request(),
                () = ack_timeout(reports.sent_at(), ACK_TIMEOUT) => {
                    return Err(Status::deadline_exceeded(format!("no ack within {ACK_TIMEOUT:?}")));
                }
                () = heartbeat_timer.sleep_until(heartbeats.deadline()) => {
                    if heartbeats.is_in_flight() {
                        let problem = format!("no ack of a heartbeat within {:?}", heartbeats::ACK_TIMEOUT);
                        return Err(Status::deadline_exceeded(problem));
                    }
                    heartbeats.heartbeat_sent(Instant::now());
                    send(&requests, ClientMessage::Heartbeat(Heartbeat {}));
                }
                () = ack_timeout(
                    credentials.as_ref().and_then(CredentialRefresh::sent_at),
                    CREDENTIAL_ACK_TIMEOUT,
                ) => {
                    let problem = format!("no ack of a credential within {CREDENTIAL_ACK_TIMEOUT:?}");
                    return Err(Status::deadline_exceeded(problem));
                }
                token = fresh_token(credentials.as_mut()) => {
                    let now = Instant::now();
                    heartbeats.message_sent(now);
                    send(&requests, ClientMessage::Credential(Credential { token: token.secret().to_owned() }));
                    if let Some(credentials) = &mut credentials {
                        credentials.sent(token, now);
                    }
                }
                () = self.leave.cancelled() => return close(requests, read_to_end(responses)).await,
            }
        }
    }

    async fn read_token(&self) -> Result<Option<Token>, Status> {
        self.connection.token().await.map_err(|problem| Status::unavailable(problem.to_string()))
    }
}

/// Waits for a token that the server does not have; forever if there are none to send.
async fn fresh_token(credentials: Option<&mut CredentialRefresh>) -> Token {
    match credentials {
        Some(credentials) => credentials.fresh().await,
        None => std::future::pending().await,
    }
}

fn hello(dataplane: &Dataplane, attempt: Attempt) -> Hello {
    Hello {
        dataplane: Some(convert::dataplane_to_proto(dataplane)),
        agent_version: dataplane.agent_version.to_string(),
        instance: attempt.instance,
        attempt: attempt.number,
        heartbeat_interval: Some(convert::duration(HEARTBEAT_INTERVAL)),
    }
}

/// Queues a message. Sending fails only when the stream has ended; the response stream then returns the
/// reason.
fn send(requests: &mpsc::Sender<SessionRequest>, message: ClientMessage) {
    let queued = requests.try_send(SessionRequest { message: Some(message) });
    debug_assert!(
        !matches!(queued, Err(mpsc::error::TrySendError::Full(_))),
        "OUTBOUND_CAPACITY is too small"
    );
}

/// Opens the stream, whose hello is queued already, and waits for the welcome.
async fn open(
    connection: Connection,
    token: Option<Token>,
    outbound: ReceiverStream<SessionRequest>,
) -> Result<(Welcome, Streaming<SessionResponse>), Status> {
    let mut request = Request::new(outbound);
    request.extensions_mut().insert(token);
    let mut responses = DataplaneServiceClient::new(connection).session(request).await?.into_inner();
    match responses.message().await?.and_then(|response| response.message) {
        Some(ServerMessage::Welcome(welcome)) => Ok((welcome, responses)),
        Some(_) => Err(Status::internal("the server sent another message before its welcome")),
        None => Err(Status::unavailable("the server ended the session before its welcome")),
    }
}

/// Sends a goodbye, half-closes the stream, and waits for its end.
async fn close(
    requests: mpsc::Sender<SessionRequest>,
    end: impl Future<Output = Result<(), Status>>,
) -> Result<SessionEnd, Status> {
    send(&requests, ClientMessage::Goodbye(Goodbye {}));
    drop(requests);
    with_timeout(CLOSE_TIMEOUT, "no end of the stream after the goodbye", end).await?;
    Ok(SessionEnd::Goodbye)
}

async fn read_to_end(mut responses: Streaming<SessionResponse>) -> Result<(), Status> {
    while responses.message().await?.is_some() {}
    Ok(())
}

/// Resolves when the ack of a report sent at `sent_at` is overdue; never if none is awaited.
async fn ack_timeout(sent_at: Option<Instant>, timeout: Duration) {
    match sent_at {
        Some(sent_at) => time::sleep_until(sent_at + timeout).await,
        None => std::future::pending().await,
    }
}

/// Awaits `future`; fails with `missing` in the message if that takes longer than `limit`.
async fn with_timeout<T>(
    limit: Duration,
    missing: &str,
    future: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let elapsed = |_| Status::deadline_exceeded(format!("{missing} within {limit:?}"));
    time::timeout(limit, future).await.map_err(elapsed)?
}

#[cfg(test)]
mod tests;
