//! A server whose sessions a test plays by hand, over in-memory connections.

use std::{io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{DuplexStream, duplex},
    sync::mpsc,
    time,
};
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{self, Channel, Endpoint, Server},
};

use crate::{
    agent::endpoint,
    model::{Dataplane, DataplaneLimits, DataplaneSpec, InboundSpec},
    proto::{
        self, Drain, HealthAck, HealthReport, Hello, SessionRequest, SessionResponse, Welcome,
        server::dataplane_service_server::{DataplaneService, DataplaneServiceServer},
        session_request::Message as Say,
        session_response::Message as Hear,
    },
};

/// Longer than any wait of the agent, so that only a bug meets it. Clocks are
/// paused: it costs nothing.
const DEADLINE: Duration = Duration::from_hours(2);

/// What this comes to, unless it takes for ever.
pub(in crate::agent) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    time::timeout(DEADLINE, future).await.expect("an end in time")
}

/// A dataplane with one inbound, on port 80.
pub(in crate::agent) fn dataplane() -> Dataplane {
    let spec = DataplaneSpec {
        mesh: "default".into(),
        name: "web-1".into(),
        inbounds: vec![InboundSpec { port: 80, ..InboundSpec::default() }],
        agent_version: "test".into(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
}

/// The way to the server; clones lead to the same one.
#[derive(Clone)]
pub(in crate::agent) struct Door(mpsc::UnboundedSender<Played>);

/// The sessions that came in.
pub(in crate::agent) struct Fake(mpsc::UnboundedReceiver<Played>);

/// The server's end of one session.
pub(in crate::agent) struct Played {
    requests: Streaming<SessionRequest>,
    responses: mpsc::UnboundedSender<Result<SessionResponse, Status>>,
}

pub(in crate::agent) fn fake() -> (Fake, Door) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Fake(receiver), Door(sender))
}

impl Fake {
    /// The next session.
    pub(in crate::agent) async fn session(&mut self) -> Played {
        in_time(self.0.recv()).await.expect("an open door")
    }

    /// A session that is there already.
    pub(in crate::agent) fn session_if_any(&mut self) -> Option<Played> {
        self.0.try_recv().ok()
    }

    /// The next session, welcomed, with its first report acknowledged.
    pub(in crate::agent) async fn settled(&mut self) -> Played {
        let mut session = self.session().await;
        session.hello().await;
        session.say(Hear::Welcome(Welcome::default()));
        let report = session.report().await;
        session.ack(report.sequence);
        session
    }
}

impl Door {
    /// A connection of its own, with the settings of a real one.
    pub(in crate::agent) async fn connect(self) -> Result<Channel, transport::Error> {
        let (client, server) = duplex(64 * 1024);
        self.connect_over(client, server).await
    }

    /// A connection whose two ends are these.
    pub(in crate::agent) async fn connect_over(
        self,
        client: DuplexStream,
        server: DuplexStream,
    ) -> Result<Channel, transport::Error> {
        let incoming = tokio_stream::once(io::Result::Ok(server)).chain(tokio_stream::pending());
        tokio::spawn(self.serve(incoming));
        let mut client = Some(TokioIo::new(client));
        let connector = move |_| {
            let client = client.take().ok_or_else(|| io::Error::other("connected before"));
            std::future::ready(client)
        };
        fake_endpoint().connect_with_connector(tower::service_fn(connector)).await
    }

    /// Serves what comes in, until the test ends.
    pub(in crate::agent) async fn serve<S, I>(self, incoming: S)
    where
        S: tokio_stream::Stream<Item = io::Result<I>>,
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
        I: transport::server::Connected,
    {
        let service = DataplaneServiceServer::from_arc(Arc::new(self));
        Server::builder().serve_with_incoming(service, incoming).await.unwrap();
    }
}

/// A connection that nobody accepts.
pub(in crate::agent) async fn nobody() -> Result<Channel, transport::Error> {
    let refuse = |_| {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody is at home");
        std::future::ready(Err::<TokioIo<DuplexStream>, _>(refused))
    };
    fake_endpoint().connect_with_connector(tower::service_fn(refuse)).await
}

fn fake_endpoint() -> Endpoint {
    endpoint("http://fake").unwrap()
}

#[tonic::async_trait]
impl DataplaneService for Door {
    type SessionStream = UnboundedReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (responses, outbound) = mpsc::unbounded_channel();
        let played = Played { requests: request.into_inner(), responses };
        self.0.send(played).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(outbound.into()))
    }

    async fn list_dataplanes(
        &self,
        _: Request<proto::ListDataplanesRequest>,
    ) -> Result<Response<proto::ListDataplanesResponse>, Status> {
        Err(Status::unimplemented("no agent asks"))
    }
}

impl Played {
    /// What the agent says next; none when it has closed its side.
    pub(in crate::agent) async fn next(&mut self) -> Option<Say> {
        let next = in_time(self.requests.message()).await;
        next.expect("a whole stream").map(|request| request.message.expect("a known message"))
    }

    pub(in crate::agent) async fn hello(&mut self) -> Hello {
        match self.next().await {
            Some(Say::Hello(hello)) => hello,
            other => panic!("expected a hello: {other:?}"),
        }
    }

    pub(in crate::agent) async fn report(&mut self) -> HealthReport {
        match self.next().await {
            Some(Say::Health(report)) => report,
            other => panic!("expected a report: {other:?}"),
        }
    }

    /// Expects a goodbye, and nothing after it.
    pub(in crate::agent) async fn goodbye(&mut self) {
        let goodbye = self.next().await;
        assert!(matches!(goodbye, Some(Say::Goodbye(_))), "expected a goodbye: {goodbye:?}");
        assert!(self.next().await.is_none());
    }

    /// Expects that nothing is said for this long.
    pub(in crate::agent) async fn silence(&mut self, length: Duration) {
        let said = time::timeout(length, self.requests.message()).await;
        assert!(said.is_err(), "expected silence: {said:?}");
    }

    /// Expects that the agent drops the stream.
    pub(in crate::agent) async fn dropped(mut self) {
        let dropped = async { while let Ok(Some(_)) = self.requests.message().await {} };
        in_time(dropped).await;
    }

    pub(in crate::agent) fn say(&self, message: Hear) {
        self.responses.send(Ok(SessionResponse { message: Some(message) })).expect("an agent that listens");
    }

    pub(in crate::agent) fn ack(&self, sequence: u64) {
        self.say(Hear::Ack(HealthAck { sequence }));
    }

    pub(in crate::agent) fn drain(&self, seconds: i64) {
        let retry_after = Some(prost_types::Duration { seconds, nanos: 0 });
        self.say(Hear::Drain(Drain { retry_after, reason: "moving".into() }));
    }

    /// Ends the session with a status.
    pub(in crate::agent) fn end(self, status: Status) {
        self.responses.send(Err(status)).expect("an agent that listens");
    }
}
