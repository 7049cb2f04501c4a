//! A session that the test itself holds, by the generated client.

use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use headcount::proto::{
    Dataplane, HealthReport, HealthState, Hello, SessionRequest, SessionResponse,
    dataplane_service_client::DataplaneServiceClient, session_request::Message,
    session_response::Message as Answer,
};

use super::DEADLINE;

/// An open session; it ends without a goodbye when this is dropped.
pub(crate) struct Proxy {
    _requests: mpsc::Sender<SessionRequest>,
    answers: Streaming<SessionResponse>,
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

/// The first message.
pub(crate) fn hello(dataplane: Dataplane) -> Message {
    Message::Hello(Hello { dataplane: Some(dataplane), ..Hello::default() })
}

/// A report that the proxy is ready.
pub(crate) fn ready() -> Message {
    Message::Health(HealthReport { sequence: 1, proxy: HealthState::Ready.into(), ..HealthReport::default() })
}

impl Proxy {
    /// Opens a stream and says these things.
    pub(crate) async fn open<const N: usize>(channel: Channel, messages: [Message; N]) -> Self {
        let (requests, said) = mpsc::channel(N.max(1));
        for message in messages {
            requests.try_send(SessionRequest { message: Some(message) }).unwrap();
        }
        let answers = DataplaneServiceClient::new(channel).session(ReceiverStream::new(said)).await.unwrap();
        Self { _requests: requests, answers: answers.into_inner() }
    }

    /// The next answer, or the status that ends the stream.
    pub(crate) async fn answer(&mut self) -> Result<Answer, Status> {
        let answer = timeout(DEADLINE, self.answers.message()).await.expect("an answer in time")?;
        answer.and_then(|answer| answer.message).ok_or_else(|| Status::ok("an end without a status"))
    }
}
