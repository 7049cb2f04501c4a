//! The agent's loop against a server that is played by hand, on a paused clock.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;
use crate::agent::{
    Check, ProbeSpec, endpoint,
    scripted_server::{self as fake, Fake, dataplane, fake, in_time, nobody},
};
use crate::model::HealthState;

struct Stage {
    server: Fake,
    shutdown: CancellationToken,
    agent: JoinHandle<Result<SessionEnd, AgentError>>,
}

/// Health that stays as it is.
fn healthy() -> watch::Receiver<Health> {
    watch::channel(Health::of_proxy(HealthState::Ready)).1
}

fn stage() -> Stage {
    let (server, door) = fake();
    let shutdown = CancellationToken::new();
    let connect = move || door.clone().connect();
    let agent = tokio::spawn(keep_session(connect, dataplane(), healthy(), shutdown.clone()));
    Stage { server, shutdown, agent }
}

/// How long the agent stays away after this happens to its settled session.
async fn away_after(stage: &mut Stage, happens: impl FnOnce(fake::Played)) -> Duration {
    let session = stage.server.settled().await;
    let began = Instant::now();
    happens(session);
    stage.server.session().await.hello().await;
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_lost_session_is_followed_by_another_within_a_second() {
    for status in [
        Status::unavailable("restarting"),
        Status::deadline_exceeded("idle"),
        Status::internal("bug"),
        Status::unimplemented("not here"),
    ] {
        let away = away_after(&mut stage(), |session| session.end(status)).await;
        assert!(away <= Duration::from_millis(1010), "{away:?}");
    }
    let away = away_after(&mut stage(), drop).await;
    assert!(away <= Duration::from_millis(1010), "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_counts_its_attempts() {
    let mut stages = [stage(), stage()];
    let mut said = Vec::new();
    for agent in [0, 0, 0, 1] {
        let mut session = stages[agent].server.session().await;
        let hello = session.hello().await;
        said.push((hello.instance, hello.attempt));
        session.end(Status::unavailable("restarting"));
    }
    let [instance, stranger] = [said[0].0, said[3].0];
    assert!(instance != 0 && instance != stranger, "{said:?}");
    assert_eq!(said, [(instance, 1), (instance, 2), (instance, 3), (stranger, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_acknowledges_nothing_is_left_after_5_s() {
    let mut stage = stage();
    let mut session = stage.server.session().await;
    session.hello().await;
    session.say(crate::proto::session_response::Message::Welcome(Welcome::default()));
    session.report().await;
    let reported_at = Instant::now();
    stage.server.session().await.hello().await;
    let away = reported_at.elapsed();
    assert!((5000..=6010).contains(&away.as_millis()), "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn the_server_may_ask_for_a_longer_wait() {
    let range = 20_000..=21_010;
    let away = away_after(&mut stage(), |session| session.drain(20)).await;
    assert!(range.contains(&away.as_millis()), "drain: {away:?}");

    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(20)));
    let full = Status::with_error_details(Code::ResourceExhausted, "full", details);
    let away = away_after(&mut stage(), |session| session.end(full)).await;
    assert!(range.contains(&away.as_millis()), "retry info: {away:?}");
}

#[tokio::test(start_paused = true)]
async fn waits_grow_until_a_session_has_settled() {
    let mut stage = stage();
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        // Acknowledged, and lost at once: this settles nothing.
        let session = stage.server.settled().await;
        let lost_at = Instant::now();
        session.end(Status::unavailable("crash loop"));
        let next = stage.server.session().await;
        longest = longest.max(lost_at.elapsed());
        next.end(Status::unavailable("crash loop"));
    }
    assert!(longest > Duration::from_secs(8) && longest <= Duration::from_millis(30_010), "{longest:?}");
    let mut session = stage.server.settled().await;
    session.silence(Duration::from_millis(29_900)).await;
    let statement = session.report().await;
    session.ack(statement.sequence);
    let away_since = Instant::now();
    session.end(Status::unavailable("restarting"));
    stage.server.session().await;
    assert!(away_since.elapsed() <= Duration::from_millis(1010), "{:?}", away_since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_nobody_listens_the_agent_tries_again() {
    let (mut server, door) = fake();
    let attempts = Arc::new(AtomicU32::new(0));
    let connect = move || {
        let (door, attempt) = (door.clone(), attempts.fetch_add(1, Ordering::Relaxed));
        async move { if attempt < 4 { nobody().await } else { door.connect().await } }
    };
    let began = Instant::now();
    tokio::spawn(keep_session(connect, dataplane(), healthy(), CancellationToken::new()));
    server.settled().await;
    assert!(began.elapsed() <= Duration::from_millis(15_040), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_says_goodbye() {
    let mut stage = stage();
    let mut session = stage.server.settled().await;
    stage.shutdown.cancel();
    session.goodbye().await;
    drop(session);
    let end = in_time(stage.agent).await.unwrap().unwrap();
    assert!(matches!(end, SessionEnd::Goodbye), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn shutdown_between_two_sessions_ends_the_wait() {
    let mut stage = stage();
    let session = stage.server.settled().await;
    session.drain(1000);
    session.dropped().await;
    let asked_at = Instant::now();
    stage.shutdown.cancel();
    in_time(stage.agent).await.unwrap().unwrap();
    assert!(asked_at.elapsed() < Duration::from_millis(10), "{:?}", asked_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_server_that_is_not_there() {
    let shutdown = CancellationToken::new();
    let connect = || std::future::pending::<Result<Channel, transport::Error>>();
    let agent = tokio::spawn(keep_session(connect, dataplane(), healthy(), shutdown.clone()));
    shutdown.cancel();
    in_time(agent).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_of_the_same_dataplane_ends_the_agent() {
    let mut stage = stage();
    stage.server.settled().await.end(Status::aborted("taken over by session s-2"));
    let error = in_time(stage.agent).await.unwrap().unwrap_err();
    assert!(matches!(error, AgentError::Superseded { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("default/default/web-1") && text.contains("taken over by session s-2"), "{text}");
    assert!(stage.server.session_if_any().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_ends_the_agent_with_the_words_of_the_server() {
    for code in
        [Code::InvalidArgument, Code::FailedPrecondition, Code::Unauthenticated, Code::PermissionDenied]
    {
        let mut stage = stage();
        let mut session = stage.server.session().await;
        session.hello().await;
        session.end(Status::new(code, "hello.dataplane.mesh: is required"));
        let error = in_time(stage.agent).await.unwrap().unwrap_err();
        assert!(matches!(error, AgentError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("hello.dataplane.mesh: is required"), "{error}");
    }
}

/// The whole way once: a real socket, a real probe, the public entry.
#[tokio::test]
async fn an_agent_reports_what_its_probe_finds() {
    let application = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let server = endpoint(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let (mut fake, door) = fake();
    tokio::spawn(door.serve(TcpListenerStream::new(listener)));
    let probe = ProbeSpec {
        check: Check::Tcp,
        ..ProbeSpec::proxy_ready(&format!("http://{}", application.local_addr().unwrap())).unwrap()
    };
    let probes = Probes { proxy: None, inbounds: vec![Some(probe)] };
    let shutdown = CancellationToken::new();
    let agent = tokio::spawn(run(AgentConfig { server, dataplane: dataplane(), probes }, shutdown.clone()));

    let mut session = fake.session().await;
    session.hello().await;
    session.say(crate::proto::session_response::Message::Welcome(Welcome::default()));
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
