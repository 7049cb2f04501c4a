//! One session: from the hello to the end of the stream.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::{self, Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

use super::{end::SessionEnd, reports::Reports};
use crate::{
    convert,
    model::{Attempt, Dataplane, Health},
    proto::{
        Goodbye, Hello, SessionRequest, SessionResponse, Welcome,
        dataplane_service_client::DataplaneServiceClient, session_request::Message as Say,
        session_response::Message as Hear,
    },
};

/// From the hello to the welcome. The server gives the hello as long.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// From a report to its ack. Keepalive notices a dead connection; this notices
/// a server whose connection lives and whose session is stuck.
const ACK_WITHIN: Duration = Duration::from_secs(5);
/// From the goodbye to the end of the stream. Short: the process is being
/// stopped, and somebody waits to kill it.
const END_WITHIN: Duration = Duration::from_secs(2);
/// A full statement is sent at least this often, which heals a report that the
/// server lost. The contract asks for it.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(30);
/// Room for a report and the goodbye after it. Never more: the next report
/// waits for the ack of the one before.
const OUTBOUND: usize = 2;

/// What one session needs. Many may share a channel.
#[derive(Debug)]
pub struct Session {
    /// To the server.
    pub channel: Channel,
    /// Who speaks.
    pub dataplane: Arc<Dataplane>,
    /// Which of its attempts this is.
    pub attempt: Attempt,
    /// How it is. When its sender is gone, the last value stays true.
    pub health: watch::Receiver<Health>,
    /// Cancelled when the dataplane leaves for good: says goodbye.
    pub leave: CancellationToken,
}

/// What happens within a session, for who logs or measures it.
#[derive(Debug, Clone, Copy)]
pub enum SessionEvent<'a> {
    /// The session is open.
    Welcomed(&'a Welcome),
    /// The server has counted a report.
    Acked {
        /// From sending the report to its ack.
        after: Duration,
    },
}

impl Session {
    /// Runs the session to its end. `observe` is called within, so it must not
    /// block.
    pub async fn run(mut self, mut observe: impl FnMut(SessionEvent<'_>)) -> SessionEnd {
        self.hold(&mut observe).await.unwrap_or_else(SessionEnd::from)
    }

    async fn hold(&mut self, observe: &mut impl FnMut(SessionEvent<'_>)) -> Result<SessionEnd, Status> {
        let (requests, outbound) = mpsc::channel(OUTBOUND);
        say(&requests, Say::Hello(hello(&self.dataplane, self.attempt)));
        let mut opening = pin!(open(self.channel.clone(), ReceiverStream::new(outbound)));
        let (welcome, mut responses) = tokio::select! {
            biased;
            opened = within(WELCOME_WITHIN, "no welcome", &mut opening) => opened?,
            () = self.leave.cancelled() => {
                // The server may have read the hello already, so the goodbye
                // follows it, and the stream is seen through to its end.
                return part(requests, async { drain(opening.await?.1).await }).await;
            }
        };
        observe(SessionEvent::Welcomed(&welcome));

        let mut reports = Reports::new();
        let mut watching = true;
        let mut statement = time::interval(REPORT_INTERVAL);
        statement.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let newest = || *self.health.borrow_and_update();
            if let Some(report) = reports.next(newest, Instant::now()) {
                say(&requests, Say::Health(convert::report_to_proto(report, &self.dataplane)));
                statement.reset();
            }
            // In the order of what the server said, what is new, what is due, so that
            // a run of a simulation can be repeated.
            tokio::select! {
                biased;
                response = responses.message() => match response?.map(|response| response.message) {
                    Some(Some(Hear::Ack(ack))) => {
                        if let Some(sent_at) = reports.acked(ack.sequence) {
                            observe(SessionEvent::Acked { after: sent_at.elapsed() });
                        }
                    }
                    // No goodbye: the dataplane lives on and comes back.
                    Some(Some(Hear::Drain(drain))) => return Ok(drain.into()),
                    // A second welcome, or a message of a newer server.
                    Some(Some(Hear::Welcome(_)) | None) => {}
                    None => return Err(Status::unavailable("the server ended the session without a reason")),
                },
                changed = self.health.changed(), if watching => match changed {
                    Ok(()) => reports.note(),
                    Err(_) => watching = false,
                },
                _ = statement.tick() => reports.note(),
                () = overdue(reports.sent_at()) => {
                    return Err(Status::deadline_exceeded(format!("no ack within {ACK_WITHIN:?}")));
                }
                () = self.leave.cancelled() => return part(requests, drain(responses)).await,
            }
        }
    }
}

fn hello(dataplane: &Dataplane, attempt: Attempt) -> Hello {
    Hello {
        dataplane: Some(convert::dataplane_to_proto(dataplane)),
        agent_version: dataplane.agent_version.to_string(),
        instance: attempt.instance,
        attempt: attempt.number,
    }
}

/// Queues a message. It can't be sent only when the stream has ended, and then
/// the responses say so, with the reason.
fn say(requests: &mpsc::Sender<SessionRequest>, message: Say) {
    let queued = requests.try_send(SessionRequest { message: Some(message) });
    debug_assert!(!matches!(queued, Err(mpsc::error::TrySendError::Full(_))), "OUTBOUND is too small");
}

/// Opens the stream, in which the hello is queued already, and waits for its
/// welcome.
async fn open(
    channel: Channel,
    outbound: ReceiverStream<SessionRequest>,
) -> Result<(Welcome, Streaming<SessionResponse>), Status> {
    let mut responses = DataplaneServiceClient::new(channel).session(outbound).await?.into_inner();
    match responses.message().await?.and_then(|response| response.message) {
        Some(Hear::Welcome(welcome)) => Ok((welcome, responses)),
        Some(_) => Err(Status::internal("the server spoke before its welcome")),
        None => Err(Status::unavailable("the server ended the session before its welcome")),
    }
}

/// Says goodbye, and nothing after it, and waits for the stream to end.
async fn part(
    requests: mpsc::Sender<SessionRequest>,
    end: impl Future<Output = Result<(), Status>>,
) -> Result<SessionEnd, Status> {
    say(&requests, Say::Goodbye(Goodbye {}));
    drop(requests);
    within(END_WITHIN, "no end of the stream after the goodbye", end).await?;
    Ok(SessionEnd::Goodbye)
}

/// Reads a stream to its end.
async fn drain(mut responses: Streaming<SessionResponse>) -> Result<(), Status> {
    while responses.message().await?.is_some() {}
    Ok(())
}

/// Resolves when a report sent then should have been answered.
async fn overdue(sent_at: Option<Instant>) {
    match sent_at {
        Some(sent_at) => time::sleep_until(sent_at + ACK_WITHIN).await,
        None => std::future::pending().await,
    }
}

async fn within<T>(
    limit: Duration,
    what: &str,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let late = |_| Status::deadline_exceeded(format!("{what} within {limit:?}"));
    time::timeout(limit, answer).await.map_err(late)?
}

#[cfg(test)]
mod tests;
