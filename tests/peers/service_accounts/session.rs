//! A session of the test itself, with a token.

use headcount::proto::{
    Credential, CredentialAck, Heartbeat, SessionRequest, SessionResponse,
    dataplane_service_client::DataplaneServiceClient, session_request::Message,
    session_response::Message as Response,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Status, Streaming, transport::Channel};

use crate::support::{DEADLINE, dataplane, hello};

/// A session stream. Dropping it ends the session without a goodbye.
pub(super) struct Session {
    requests: mpsc::UnboundedSender<SessionRequest>,
    responses: Streaming<SessionResponse>,
}

impl Session {
    /// Opens a session for a dataplane of the workload `web`.
    pub(super) async fn open(channel: Channel, name: &str, token: &str) -> Result<Self, Status> {
        let (requests, stream) = mpsc::unbounded_channel();
        let mut request = Request::new(UnboundedReceiverStream::new(stream));
        let authorization = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", authorization);
        let responses = DataplaneServiceClient::new(channel).session(request).await?.into_inner();
        let mut session = Self { requests, responses };
        session.send(hello(dataplane("default", "web", name)));
        match session.next().await? {
            Response::Welcome(welcome) => assert!(welcome.accepts_credentials),
            other => panic!("expected a welcome: {other:?}"),
        }
        Ok(session)
    }

    pub(super) fn send_token(&self, token: &str) {
        self.send(Message::Credential(Credential { token: token.to_owned() }));
    }

    /// Sends a heartbeat, and waits for its ack, and for the ack of a credential if one is awaited.
    pub(super) async fn is_alive(&mut self, awaits_credential: bool) -> Option<CredentialAck> {
        self.send(Message::Heartbeat(Heartbeat {}));
        let (mut heartbeat, mut credential) = (false, None);
        while !heartbeat || credential.is_some() != awaits_credential {
            match self.next().await.expect("the session goes on") {
                Response::HeartbeatAck(_) => heartbeat = true,
                Response::CredentialAck(ack) => credential = Some(ack),
                other => panic!("unexpected response: {other:?}"),
            }
        }
        credential
    }

    /// Waits for the end of the session.
    pub(super) async fn end(&mut self) -> Status {
        self.next().await.expect_err("the end of the session")
    }

    fn send(&self, message: Message) {
        // If the session has ended, the next response is its status.
        let _ended = self.requests.send(SessionRequest { message: Some(message) });
    }

    async fn next(&mut self) -> Result<Response, Status> {
        let response = timeout(DEADLINE, self.responses.message()).await.expect("a response in time")?;
        response.and_then(|response| response.message).ok_or_else(|| Status::ok("no error"))
    }
}
