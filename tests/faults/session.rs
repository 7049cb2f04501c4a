//! A session of the generated client, each step of which the server confirms.

use headcount::proto::{
    Goodbye, HealthReport, HealthState, Hello, SessionRequest, SessionResponse,
    dataplane_service_client::DataplaneServiceClient, session_request::Message,
    session_response::Message as Response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

/// An open session.
pub(crate) struct Session {
    requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
    sequence: u64,
}

impl Session {
    /// Opens a session, and waits for the welcome.
    pub(crate) async fn open(channel: Channel, hello: Hello) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(1);
        send(&requests, Message::Hello(hello)).await;
        let responses = DataplaneServiceClient::new(channel).session(ReceiverStream::new(stream)).await?;
        let mut session = Self { requests, responses: responses.into_inner(), sequence: 0 };
        match session.response().await? {
            Some(Response::Welcome(_)) => Ok(session),
            other => panic!("a welcome was expected, not {other:?}"),
        }
    }

    /// Reports health, and waits for the ack.
    pub(crate) async fn report(&mut self, healthy: bool) -> Result<(), Status> {
        self.sequence += 1;
        let proxy = if healthy { HealthState::Ready } else { HealthState::NotReady };
        let (sequence, proxy) = (self.sequence, proxy.into());
        send(&self.requests, Message::Health(HealthReport { sequence, proxy, ..HealthReport::default() }))
            .await;
        match self.response().await? {
            Some(Response::Ack(ack)) if ack.sequence == sequence => Ok(()),
            other => panic!("the ack of {sequence} was expected, not {other:?}"),
        }
    }

    /// Unregisters the dataplane, and waits for the end of the stream.
    pub(crate) async fn goodbye(self) -> Result<(), Status> {
        send(&self.requests, Message::Goodbye(Goodbye {})).await;
        self.close().await
    }

    /// Ends the stream without a goodbye, and waits until the server has ended it too.
    pub(crate) async fn close(self) -> Result<(), Status> {
        let Self { requests, mut responses, .. } = self;
        drop(requests);
        match next(&mut responses).await? {
            None => Ok(()),
            Some(other) => panic!("the end of the stream was expected, not {other:?}"),
        }
    }

    async fn response(&mut self) -> Result<Option<Response>, Status> {
        next(&mut self.responses).await
    }
}

/// Returns the next response; an error if the server drains.
async fn next(responses: &mut Streaming<SessionResponse>) -> Result<Option<Response>, Status> {
    match responses.message().await?.and_then(|response| response.message) {
        Some(Response::Drain(drain)) => Err(Status::unavailable(drain.reason)),
        response => Ok(response),
    }
}

/// Queues a message. If the connection is lost, reading reports it.
async fn send(requests: &mpsc::Sender<SessionRequest>, message: Message) {
    let _lost = requests.send(SessionRequest { message: Some(message) }).await;
}
