//! A server for tests of the agent: each test plays the server's side of every session, over in-memory
//! connections.

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
    model::{Dataplane, DataplaneLimits, DataplaneSpec, InboundSpec},
    net::client::ServerEndpoint,
    proto::{
        self, CredentialAck, Drain, HealthAck, HealthReport, HeartbeatAck, Hello, SessionRequest,
        SessionResponse, Welcome,
        server::dataplane_service_server::{DataplaneService, DataplaneServiceServer},
        session_request::Message as ClientMessage,
        session_response::Message as ServerMessage,
    },
};

/// Longer than any timeout of the agent, so only a bug reaches it. Clocks are paused: the wait takes no
/// real time.
const DEADLINE: Duration = Duration::from_hours(2);

/// Awaits `future`, and panics at the deadline.
pub(in crate::agent) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    time::timeout(DEADLINE, future).await.expect("the future resolves before the deadline")
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

/// Receives the sessions that agents open.
pub(in crate::agent) struct ScriptedServer(mpsc::UnboundedReceiver<ScriptedSession>);

/// Opens connections to a [`ScriptedServer`]; clones connect to the same one.
#[derive(Clone)]
pub(in crate::agent) struct Connector(mpsc::UnboundedSender<ScriptedSession>);

/// The server's end of one session.
pub(in crate::agent) struct ScriptedSession {
    /// The `authorization` of the call.
    pub(in crate::agent) authorization: Option<String>,
    requests: Streaming<SessionRequest>,
    responses: mpsc::UnboundedSender<Result<SessionResponse, Status>>,
}

struct Service(mpsc::UnboundedSender<ScriptedSession>);

pub(in crate::agent) fn scripted_server() -> (ScriptedServer, Connector) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (ScriptedServer(receiver), Connector(sender))
}

impl ScriptedServer {
    /// Waits for the next session.
    pub(in crate::agent) async fn session(&mut self) -> ScriptedSession {
        in_time(self.0.recv()).await.expect("a connector exists")
    }

    /// Returns the next session if one is open already.
    pub(in crate::agent) fn session_if_any(&mut self) -> Option<ScriptedSession> {
        self.0.try_recv().ok()
    }

    /// Waits for the next session, welcomes it without heartbeats, and acknowledges its first report.
    pub(in crate::agent) async fn acknowledged_session(&mut self) -> ScriptedSession {
        self.acknowledge(Welcome::default()).await
    }

    /// As [`acknowledged_session`](Self::acknowledged_session), with heartbeats.
    pub(in crate::agent) async fn session_with_heartbeats(&mut self) -> ScriptedSession {
        let heartbeat_timeout = Some(prost_types::Duration { seconds: 8, nanos: 0 });
        self.acknowledge(Welcome { heartbeat_timeout, ..Welcome::default() }).await
    }

    /// As [`acknowledged_session`](Self::acknowledged_session), with this welcome.
    pub(in crate::agent) async fn session_with(&mut self, welcome: Welcome) -> ScriptedSession {
        self.acknowledge(welcome).await
    }

    async fn acknowledge(&mut self, welcome: Welcome) -> ScriptedSession {
        let mut session = self.session().await;
        session.hello().await;
        session.send(ServerMessage::Welcome(welcome));
        let report = session.report().await;
        session.ack(report.sequence);
        session
    }
}

impl Connector {
    /// Opens a connection with the settings of a real one.
    pub(in crate::agent) async fn connect(self) -> Result<Channel, transport::Error> {
        let (client, server) = duplex(64 * 1024);
        self.connect_over(client, server).await
    }

    /// Opens a connection over the given pair of streams.
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
        test_endpoint().connect_with_connector(tower::service_fn(connector)).await
    }

    /// Serves the connections of `incoming` until the test ends.
    pub(in crate::agent) async fn serve<S, I>(self, incoming: S)
    where
        S: tokio_stream::Stream<Item = io::Result<I>>,
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
        I: transport::server::Connected,
    {
        let service = DataplaneServiceServer::from_arc(Arc::new(Service(self.0)));
        Server::builder().serve_with_incoming(service, incoming).await.unwrap();
    }
}

/// Tries a connection that is refused.
pub(in crate::agent) async fn connect_refused() -> Result<Channel, transport::Error> {
    let refuse = |_| {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "no listener");
        std::future::ready(Err::<TokioIo<DuplexStream>, _>(refused))
    };
    test_endpoint().connect_with_connector(tower::service_fn(refuse)).await
}

fn test_endpoint() -> Endpoint {
    ServerEndpoint::plaintext("http://test").unwrap().http2().clone()
}

#[tonic::async_trait]
impl DataplaneService for Service {
    type SessionStream = UnboundedReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (responses, outbound) = mpsc::unbounded_channel();
        let authorization = request.metadata().get("authorization");
        let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
        let session = ScriptedSession { authorization, requests: request.into_inner(), responses };
        self.0.send(session).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(outbound.into()))
    }

    async fn list_dataplanes(
        &self,
        _: Request<proto::ListDataplanesRequest>,
    ) -> Result<Response<proto::ListDataplanesResponse>, Status> {
        Err(Status::unimplemented("agents do not list dataplanes"))
    }
}

impl ScriptedSession {
    /// The agent's next message; none when it has closed its side of the stream.
    pub(in crate::agent) async fn next(&mut self) -> Option<ClientMessage> {
        let next = in_time(self.requests.message()).await;
        next.expect("an intact stream").map(|request| request.message.expect("a known message"))
    }

    pub(in crate::agent) async fn hello(&mut self) -> Hello {
        match self.next().await {
            Some(ClientMessage::Hello(hello)) => hello,
            other => panic!("expected a hello: {other:?}"),
        }
    }

    pub(in crate::agent) async fn report(&mut self) -> HealthReport {
        match self.next().await {
            Some(ClientMessage::Health(report)) => report,
            other => panic!("expected a report: {other:?}"),
        }
    }

    pub(in crate::agent) async fn heartbeat(&mut self) {
        let heartbeat = self.next().await;
        assert!(
            matches!(heartbeat, Some(ClientMessage::Heartbeat(_))),
            "expected a heartbeat: {heartbeat:?}"
        );
    }

    /// The token of the next credential. Reports before it are acknowledged.
    pub(in crate::agent) async fn credential(&mut self) -> String {
        loop {
            match self.next().await {
                Some(ClientMessage::Credential(credential)) => return credential.token,
                Some(ClientMessage::Health(report)) => self.ack(report.sequence),
                other => panic!("expected a credential: {other:?}"),
            }
        }
    }

    pub(in crate::agent) fn ack_credential(&self) {
        self.send(ServerMessage::CredentialAck(CredentialAck { expires_at: None }));
    }

    /// Expects that for this long only reports arrive, which are acknowledged.
    pub(in crate::agent) async fn no_credential_for(&mut self, duration: Duration) {
        let credential = time::timeout(duration, self.credential()).await;
        assert!(credential.is_err(), "expected no credential: {credential:?}");
    }

    pub(in crate::agent) fn ack_heartbeat(&self) {
        self.send(ServerMessage::HeartbeatAck(HeartbeatAck {}));
    }

    /// Expects a goodbye, and nothing after it.
    pub(in crate::agent) async fn goodbye(&mut self) {
        let goodbye = self.next().await;
        assert!(matches!(goodbye, Some(ClientMessage::Goodbye(_))), "expected a goodbye: {goodbye:?}");
        assert!(self.next().await.is_none());
    }

    /// Expects no message for this long.
    pub(in crate::agent) async fn no_message_for(&mut self, duration: Duration) {
        let message = time::timeout(duration, self.requests.message()).await;
        assert!(message.is_err(), "expected no message: {message:?}");
    }

    /// Expects that the agent drops the stream.
    pub(in crate::agent) async fn dropped(mut self) {
        let dropped = async { while let Ok(Some(_)) = self.requests.message().await {} };
        in_time(dropped).await;
    }

    pub(in crate::agent) fn send(&self, message: ServerMessage) {
        let response = SessionResponse { message: Some(message) };
        self.responses.send(Ok(response)).expect("the agent reads the stream");
    }

    pub(in crate::agent) fn ack(&self, sequence: u64) {
        self.send(ServerMessage::Ack(HealthAck { sequence }));
    }

    pub(in crate::agent) fn drain(&self, seconds: i64) {
        let retry_after = Some(prost_types::Duration { seconds, nanos: 0 });
        self.send(ServerMessage::Drain(Drain { retry_after, reason: "moving".into() }));
    }

    /// Ends the session with a status.
    pub(in crate::agent) fn end(self, status: Status) {
        self.responses.send(Err(status)).expect("the agent reads the stream");
    }
}
