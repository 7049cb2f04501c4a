//! A proxy's side of a session.

use headcount::proto::{
    Dataplane, Goodbye, HealthReport, HealthState, Hello, InboundHealth, SessionRequest, SessionResponse,
    Welcome, dataplane_service_client::DataplaneServiceClient, session_request::Message as Said,
    session_response::Message as Answer,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::soon;

/// A stream on which anything can be said, in any order.
pub struct Line {
    /// Dropped, it closes this half of the stream.
    pub say: mpsc::UnboundedSender<SessionRequest>,
    pub hear: Streaming<SessionResponse>,
}

impl Line {
    pub async fn open(channel: Channel) -> Self {
        Self::try_open(channel).await.expect("a stream")
    }

    pub async fn try_open(channel: Channel) -> Result<Self, Status> {
        let (say, said) = mpsc::unbounded_channel();
        let mut client = DataplaneServiceClient::new(channel);
        let hear = soon("a stream", client.session(UnboundedReceiverStream::new(said))).await?;
        let hear = hear.into_inner();
        Ok(Self { say, hear })
    }

    pub fn say(&self, said: Said) {
        let message = Some(said);
        // If the server has ended the stream, what it says will tell.
        let _ended = self.say.send(SessionRequest { message });
    }

    /// What the server says next, which must not be the end.
    pub async fn hear(&mut self) -> Answer {
        let answer = soon("an answer", self.hear.message()).await;
        let answer = answer.expect("an answer, no status").expect("an answer, no end");
        answer.message.expect("something is set")
    }

    /// How the stream ends, which must be the next thing that happens.
    pub async fn end(&mut self) -> Status {
        match soon("the end", self.hear.message()).await {
            Ok(None) => Status::new(Code::Ok, ""),
            Ok(Some(answer)) => panic!("not the end, but {answer:?}"),
            Err(status) => status,
        }
    }
}

/// An open session.
pub struct Proxy {
    pub line: Line,
    pub welcome: Welcome,
    sequence: u64,
}

impl Proxy {
    /// Says hello and waits for the welcome.
    pub async fn hello(channel: Channel, dataplane: Dataplane) -> Self {
        let mut line = Line::open(channel).await;
        line.say(hello(dataplane));
        let Answer::Welcome(welcome) = line.hear().await else {
            panic!("a hello is answered with a welcome");
        };
        Self { welcome, ..Self::of(line) }
    }

    /// On a line whose welcome has been heard.
    pub fn of(line: Line) -> Self {
        Self { line, welcome: Welcome::default(), sequence: 0 }
    }

    /// All ready; counted when this returns.
    pub async fn ready(&mut self) {
        self.report(HealthState::Ready).await;
    }

    /// The inbound is not; counted when this returns.
    pub async fn not_ready(&mut self) {
        self.report(HealthState::NotReady).await;
    }

    /// States the health of inbound 8080, the proxy being ready.
    async fn report(&mut self, inbound: HealthState) {
        let sequence = self.say_health(inbound);
        self.acked(sequence).await;
    }

    /// The same without waiting; returns the sequence of the report.
    pub fn say_health(&mut self, inbound: HealthState) -> u64 {
        self.sequence += 1;
        self.line.say(health(self.sequence, inbound));
        self.sequence
    }

    /// The next that is heard is the ack of a report.
    pub async fn acked(&mut self, sequence: u64) {
        let ack = self.line.hear().await;
        let Answer::Ack(ack) = ack else {
            panic!("not an ack, but {ack:?}");
        };
        assert_eq!(ack.sequence, sequence);
    }

    /// Leaves, and waits until the server has seen it.
    pub async fn goodbye(mut self) {
        self.line.say(Said::Goodbye(Goodbye {}));
        let end = self.line.end().await;
        assert_eq!(end.code(), Code::Ok, "{end:?}");
    }
}

pub fn hello(dataplane: Dataplane) -> Said {
    Said::Hello(Hello { dataplane: Some(dataplane), agent_version: "test".into(), ..Hello::default() })
}

/// A report of a proxy that is ready, and of its inbound 8080.
pub fn health(sequence: u64, inbound: HealthState) -> Said {
    Said::Health(HealthReport {
        sequence,
        proxy: HealthState::Ready.into(),
        inbounds: vec![InboundHealth { port: 8080, state: inbound.into() }],
    })
}
