//! A session of the test itself, with the generated client.

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use headcount::proto::{
    Dataplane, HealthReport, HealthState, Hello, SessionRequest, SessionResponse,
    dataplane_service_client::DataplaneServiceClient, session_request::Message,
    session_response::Message as Response,
};

use super::DEADLINE;

/// A session stream. Dropping it ends the session without a goodbye.
pub(crate) struct Proxy {
    _requests: mpsc::Sender<SessionRequest>,
    responses: Streaming<SessionResponse>,
}

/// A dataplane without inbounds.
pub(crate) fn dataplane(mesh: &str, workload: &str, name: &str) -> Dataplane {
    Dataplane {
        mesh: mesh.to_owned(),
        name: name.to_owned(),
        labels: [("kuma.io/workload".to_owned(), workload.to_owned())].into(),
        ..Dataplane::default()
    }
}

/// The first message of a session.
pub(crate) fn hello(dataplane: Dataplane) -> Message {
    Message::Hello(Hello { dataplane: Some(dataplane), ..Hello::default() })
}

/// A first report of a ready proxy.
pub(crate) fn ready() -> Message {
    Message::Health(HealthReport { sequence: 1, proxy: HealthState::Ready.into(), ..HealthReport::default() })
}

impl Proxy {
    /// Opens a stream and sends these messages.
    pub(crate) async fn open<const N: usize>(channel: Channel, messages: [Message; N]) -> Self {
        let (requests, stream) = mpsc::channel(N.max(1));
        for message in messages {
            requests.try_send(SessionRequest { message: Some(message) }).unwrap();
        }
        let responses =
            DataplaneServiceClient::new(channel).session(ReceiverStream::new(stream)).await.unwrap();
        Self { _requests: requests, responses: responses.into_inner() }
    }

    /// Returns the next response, or the status of the stream.
    pub(crate) async fn next_response(&mut self) -> Result<Response, Status> {
        let response = timeout(DEADLINE, self.responses.message()).await.expect("a response in time")?;
        response.and_then(|response| response.message).ok_or_else(|| Status::ok("no error"))
    }
}
