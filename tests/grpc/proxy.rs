//! The proxy's side of a session.

use headcount::proto::{
    Dataplane, Goodbye, HealthReport, HealthState, Hello, InboundHealth, SessionRequest, SessionResponse,
    Welcome, dataplane_service_client::DataplaneServiceClient, session_request::Message as Request,
    session_response::Message as Response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::in_time;

/// A `Session` stream on which the test sends any messages in any order.
pub struct SessionStream {
    /// Dropping the sender half-closes the stream.
    pub requests: mpsc::UnboundedSender<SessionRequest>,
    pub responses: Streaming<SessionResponse>,
}

impl SessionStream {
    pub async fn open(channel: Channel) -> Self {
        Self::try_open(channel).await.expect("a stream")
    }

    pub async fn try_open(channel: Channel) -> Result<Self, Status> {
        let (requests, stream) = mpsc::unbounded_channel();
        let mut client = DataplaneServiceClient::new(channel);
        let responses = in_time("a stream", client.session(UnboundedReceiverStream::new(stream))).await?;
        Ok(Self { requests, responses: responses.into_inner() })
    }

    pub fn send(&self, request: Request) {
        let message = Some(request);
        // If the server has ended the stream, the test reads its status.
        let _ended = self.requests.send(SessionRequest { message });
    }

    /// Returns the next response. The stream must not end before it.
    pub async fn receive(&mut self) -> Response {
        let response = in_time("a response", self.responses.message()).await;
        let response = response.expect("a response, no error").expect("a response, no end");
        response.message.expect("a message")
    }

    /// Returns the status of the stream, which must end without another response.
    pub async fn end(&mut self) -> Status {
        match in_time("the end of the stream", self.responses.message()).await {
            Ok(None) => Status::new(Code::Ok, ""),
            Ok(Some(response)) => panic!("expected the end of the stream, got {response:?}"),
            Err(status) => status,
        }
    }
}

/// A session that the server has admitted.
pub struct Proxy {
    pub stream: SessionStream,
    pub welcome: Welcome,
    sequence: u64,
}

impl Proxy {
    /// Sends a hello and waits for the welcome.
    pub async fn connect(channel: Channel, dataplane: Dataplane) -> Self {
        let mut stream = SessionStream::open(channel).await;
        stream.send(hello(dataplane));
        let Response::Welcome(welcome) = stream.receive().await else {
            panic!("a hello is answered with a welcome");
        };
        Self { welcome, ..Self::welcomed(stream) }
    }

    /// Wraps a stream on which the welcome has been received.
    pub fn welcomed(stream: SessionStream) -> Self {
        Self { stream, welcome: Welcome::default(), sequence: 0 }
    }

    /// Reports inbound 8080 as ready; the report is counted when this returns.
    pub async fn ready(&mut self) {
        self.report(HealthState::Ready).await;
    }

    /// Reports inbound 8080 as not ready; the report is counted when this returns.
    pub async fn not_ready(&mut self) {
        self.report(HealthState::NotReady).await;
    }

    async fn report(&mut self, inbound: HealthState) {
        let sequence = self.send_health(inbound);
        self.expect_ack(sequence).await;
    }

    /// Sends a report of a ready proxy with this state of inbound 8080, and returns its sequence
    /// without waiting for the ack.
    pub fn send_health(&mut self, inbound: HealthState) -> u64 {
        self.sequence += 1;
        self.stream.send(health(self.sequence, inbound));
        self.sequence
    }

    /// The next response must be the ack of this report.
    pub async fn expect_ack(&mut self, sequence: u64) {
        let response = self.stream.receive().await;
        let Response::Ack(ack) = response else {
            panic!("expected an ack, got {response:?}");
        };
        assert_eq!(ack.sequence, sequence);
    }

    /// Sends a goodbye, and waits until the server has ended the session.
    pub async fn goodbye(mut self) {
        self.stream.send(Request::Goodbye(Goodbye {}));
        let end = self.stream.end().await;
        assert_eq!(end.code(), Code::Ok, "{end:?}");
    }
}

pub fn hello(dataplane: Dataplane) -> Request {
    Request::Hello(Hello { dataplane: Some(dataplane), agent_version: "test".into(), ..Hello::default() })
}

/// A report of a ready proxy with this state of inbound 8080.
pub fn health(sequence: u64, inbound: HealthState) -> Request {
    Request::Health(HealthReport {
        sequence,
        proxy: HealthState::Ready.into(),
        inbounds: vec![InboundHealth { port: 8080, state: inbound.into() }],
    })
}
