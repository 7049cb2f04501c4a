//! The agent's reconnect loop against a scripted server, on a paused clock.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;
use crate::agent::{
    ProbeHandler, ProbeSpec,
    scripted_server::{
        ScriptedServer, ScriptedSession, connect_refused, dataplane, in_time, scripted_server,
    },
};
use crate::{model::HealthState, net::rejection::rejection};

/// A running agent and its server.
struct Fixture {
    server: ScriptedServer,
    shutdown: CancellationToken,
    agent: JoinHandle<Result<SessionEnd, AgentError>>,
}

/// Health that never changes.
fn healthy() -> watch::Receiver<Health> {
    watch::channel(Health::of_proxy(HealthState::Ready)).1
}

fn start() -> Fixture {
    let (server, connector) = scripted_server();
    let shutdown = CancellationToken::new();
    let connect = move || connector.clone().connect();
    let agent = tokio::spawn(keep_session(connect, dataplane(), healthy(), shutdown.clone()));
    Fixture { server, shutdown, agent }
}

/// Ends an acknowledged session with `end`, and returns the time until the agent's next hello.
async fn reconnects_after(fixture: &mut Fixture, end: impl FnOnce(ScriptedSession)) -> Duration {
    let session = fixture.server.acknowledged_session().await;
    let began = Instant::now();
    end(session);
    fixture.server.session().await.hello().await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_agent_reconnects_within_a_second_of_a_loss() {
    for status in [
        Status::unavailable("restarting"),
        Status::deadline_exceeded("idle"),
        Status::internal("bug"),
        Status::unimplemented("not here"),
    ] {
        let delay = reconnects_after(&mut start(), |session| session.end(status)).await;
        assert!(delay <= Duration::from_millis(1010), "{delay:?}");
    }
    let delay = reconnects_after(&mut start(), drop).await;
    assert!(delay <= Duration::from_millis(1010), "{delay:?}");
}

#[tokio::test(start_paused = true)]
async fn hellos_of_one_agent_have_one_instance_and_counted_attempts() {
    let mut agents = [start(), start()];
    let mut hellos = Vec::new();
    for agent in [0, 0, 0, 1] {
        let mut session = agents[agent].server.session().await;
        let hello = session.hello().await;
        hellos.push((hello.instance, hello.attempt));
        session.end(Status::unavailable("restarting"));
    }
    let [instance, other] = [hellos[0].0, hellos[3].0];
    assert!(instance != 0 && instance != other, "{hellos:?}");
    assert_eq!(hellos, [(instance, 1), (instance, 2), (instance, 3), (other, 1)]);
}

#[tokio::test(start_paused = true)]
async fn the_agent_reconnects_when_an_ack_is_missing_for_5_s() {
    let mut fixture = start();
    let mut session = fixture.server.session().await;
    session.hello().await;
    session.send(crate::proto::session_response::Message::Welcome(Welcome::default()));
    session.report().await;
    let reported_at = Instant::now();
    fixture.server.session().await.hello().await;
    let delay = reported_at.elapsed();
    assert!((5000..=6010).contains(&delay.as_millis()), "{delay:?}");
}

#[tokio::test(start_paused = true)]
async fn the_agent_waits_as_long_as_the_server_requests() {
    let range = 20_000..=21_010;
    let delay = reconnects_after(&mut start(), |session| session.drain(20)).await;
    assert!(range.contains(&delay.as_millis()), "drain: {delay:?}");

    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(20)));
    let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
    let delay = reconnects_after(&mut start(), |session| session.end(full)).await;
    assert!(range.contains(&delay.as_millis()), "retry info: {delay:?}");
}

#[tokio::test(start_paused = true)]
async fn delays_grow_until_a_session_has_lasted_30_s() {
    let mut fixture = start();
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        // An acknowledged session that is lost at once does not reset the backoff.
        let session = fixture.server.acknowledged_session().await;
        let lost_at = Instant::now();
        session.end(Status::unavailable("crash loop"));
        let next = fixture.server.session().await;
        longest = longest.max(lost_at.elapsed());
        next.end(Status::unavailable("crash loop"));
    }
    assert!(longest > Duration::from_secs(3) && longest <= Duration::from_millis(5_010), "{longest:?}");
    let mut session = fixture.server.acknowledged_session().await;
    session.no_message_for(Duration::from_millis(29_900)).await;
    let report = session.report().await;
    session.ack(report.sequence);
    let ended_at = Instant::now();
    session.end(Status::unavailable("restarting"));
    fixture.server.session().await;
    assert!(ended_at.elapsed() <= Duration::from_millis(1010), "{:?}", ended_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_agent_retries_while_connections_are_refused() {
    let (mut server, connector) = scripted_server();
    let attempts = Arc::new(AtomicU32::new(0));
    let connect = move || {
        let (connector, attempt) = (connector.clone(), attempts.fetch_add(1, Ordering::Relaxed));
        async move { if attempt < 4 { connect_refused().await } else { connector.connect().await } }
    };
    let began = Instant::now();
    tokio::spawn(keep_session(connect, dataplane(), healthy(), CancellationToken::new()));
    server.acknowledged_session().await;
    assert!(began.elapsed() <= Duration::from_millis(15_040), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_sends_a_goodbye() {
    let mut fixture = start();
    let mut session = fixture.server.acknowledged_session().await;
    fixture.shutdown.cancel();
    session.goodbye().await;
    drop(session);
    let end = in_time(fixture.agent).await.unwrap().unwrap();
    assert!(matches!(end, SessionEnd::Goodbye), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn shutdown_between_two_sessions_ends_the_delay() {
    let mut fixture = start();
    let session = fixture.server.acknowledged_session().await;
    session.drain(1000);
    session.dropped().await;
    let asked_at = Instant::now();
    fixture.shutdown.cancel();
    in_time(fixture.agent).await.unwrap().unwrap();
    assert!(asked_at.elapsed() < Duration::from_millis(10), "{:?}", asked_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_a_pending_connect() {
    let shutdown = CancellationToken::new();
    let connect = || std::future::pending::<Result<Connection, ConnectProblem>>();
    let agent = tokio::spawn(keep_session(connect, dataplane(), healthy(), shutdown.clone()));
    shutdown.cancel();
    in_time(agent).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_takeover_by_a_newer_session_ends_the_agent() {
    let mut fixture = start();
    fixture.server.acknowledged_session().await.end(rejection(Code::Aborted, "taken over by session s-2"));
    let error = in_time(fixture.agent).await.unwrap().unwrap_err();
    assert!(matches!(error, AgentError::Superseded { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("default/default/web-1") && text.contains("taken over by session s-2"), "{text}");
    assert!(fixture.server.session_if_any().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_final_rejection_ends_the_agent_with_the_server_message() {
    for code in [Code::InvalidArgument, Code::FailedPrecondition] {
        let mut fixture = start();
        let mut session = fixture.server.session().await;
        session.hello().await;
        session.end(rejection(code, "hello.dataplane.mesh: is required"));
        let error = in_time(fixture.agent).await.unwrap().unwrap_err();
        assert!(matches!(error, AgentError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("hello.dataplane.mesh: is required"), "{error}");
    }
}

/// The public entry point, with a real socket and a real probe.
#[tokio::test]
async fn an_agent_reports_the_result_of_its_probe() {
    let application = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = ServerEndpoint::plaintext(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (mut scripted, connector) = scripted_server();
    tokio::spawn(connector.serve(TcpListenerStream::new(listener)));
    let probe = ProbeSpec {
        handler: ProbeHandler::Tcp,
        ..ProbeSpec::proxy_ready(&format!("http://{}", application.local_addr().unwrap())).unwrap()
    };
    let probes =
        Probes { inbounds: vec![crate::agent::InboundProbe::Applications(vec![probe])], ..Probes::default() };
    let shutdown = CancellationToken::new();
    let agent = tokio::spawn(run(AgentConfig { server, dataplane: dataplane(), probes }, shutdown.clone()));

    let mut session = scripted.session().await;
    session.hello().await;
    session.send(crate::proto::session_response::Message::Welcome(Welcome::default()));
    loop {
        let report = session.report().await;
        session.ack(report.sequence);
        if report.inbounds.iter().any(|inbound| inbound.state() == crate::proto::HealthState::Ready) {
            break;
        }
    }
    shutdown.cancel();
    session.goodbye().await;
    drop(session);
    in_time(agent).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn denied_access_is_retried_however_often() {
    let mut fixture = start();
    for attempt in 1..=8 {
        let mut session = fixture.server.session().await;
        assert_eq!(session.hello().await.attempt, attempt);
        let code = if attempt % 2 == 0 { Code::Unauthenticated } else { Code::PermissionDenied };
        session.end(rejection(code, "the token has expired"));
    }
    fixture.server.acknowledged_session().await;
}

/// The token file of a client.
struct TokenFile(tempfile::NamedTempFile);

impl TokenFile {
    fn set(&self, token: &str) {
        std::fs::write(self.0.path(), token).unwrap();
    }
}

/// Starts a client whose token is `one`.
fn start_with_token() -> (ScriptedServer, TokenFile) {
    let token = TokenFile(tempfile::NamedTempFile::new().unwrap());
    token.set("one");
    let (server, connector) = scripted_server();
    let path = token.0.path().to_owned();
    let connect = move || {
        let (connector, path) = (connector.clone(), path.clone());
        async move {
            let channel = connector.connect().await.expect("in memory");
            Ok::<_, ConnectProblem>(Connection::from(channel).with_token_file(&path))
        }
    };
    tokio::spawn(keep_session(connect, dataplane(), healthy(), CancellationToken::new()));
    (server, token)
}

#[tokio::test(start_paused = true)]
async fn each_attempt_reads_the_token_again() {
    let (mut server, token) = start_with_token();
    let first = server.session().await;
    assert_eq!(first.authorization.as_deref(), Some("Bearer one"));
    token.set("two\n");
    first.end(rejection(Code::Unauthenticated, "the token was revoked"));
    let second = server.session().await;
    assert_eq!(second.authorization.as_deref(), Some("Bearer two"));
    token.set("");
    second.end(rejection(Code::Unauthenticated, "the token was revoked"));
    // Without a token no session is opened, until there is one again.
    time::sleep(Duration::from_secs(30)).await;
    assert!(server.session_if_any().is_none());
    token.set("three");
    assert_eq!(server.session().await.authorization.as_deref(), Some("Bearer three"));
}

#[tokio::test(start_paused = true)]
async fn a_replaced_token_is_sent_over_the_open_session() {
    let (mut server, token) = start_with_token();
    let mut session = server.session_with(Welcome { accepts_credentials: true, ..Welcome::default() }).await;
    token.set("two");
    let replaced_at = Instant::now();
    assert_eq!(session.credential().await, "two");
    assert!(replaced_at.elapsed() <= Duration::from_secs(61), "{:?}", replaced_at.elapsed());
    // Unchanged, it is not sent again; a change before the ack waits for it.
    token.set("three");
    session.ack_credential();
    assert_eq!(session.credential().await, "three");
    session.ack_credential();
    token.set("");
    session.no_credential_for(Duration::from_secs(200)).await;
    token.set("four");
    let emptied_at = Instant::now();
    assert_eq!(session.credential().await, "four");
    assert!(emptied_at.elapsed() <= Duration::from_secs(2), "an unreadable file is read each second");
}

#[tokio::test(start_paused = true)]
async fn the_agent_reconnects_when_the_ack_of_a_credential_is_missing() {
    let (mut server, token) = start_with_token();
    let mut session = server.session_with(Welcome { accepts_credentials: true, ..Welcome::default() }).await;
    token.set("two");
    assert_eq!(session.credential().await, "two");
    let sent_at = Instant::now();
    assert_eq!(server.session().await.authorization.as_deref(), Some("Bearer two"));
    assert!((35_000..=36_010).contains(&sent_at.elapsed().as_millis()), "{:?}", sent_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_no_credentials_is_sent_none() {
    let (mut server, token) = start_with_token();
    let mut session = server.acknowledged_session().await;
    token.set("two");
    session.no_credential_for(Duration::from_secs(200)).await;
}
