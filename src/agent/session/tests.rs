//! Sessions against a scripted server, on a paused clock.

use tokio::{
    io::{copy_bidirectional, duplex},
    task::JoinHandle,
};
use tonic::Code;

use super::*;
use crate::{
    agent::scripted_server::{ScriptedServer, ScriptedSession, dataplane, in_time, scripted_server},
    model::{
        Attempt,
        HealthState::{self, NotReady, Ready},
    },
    proto,
};

/// A running session, its server and its inputs.
struct Fixture {
    server: ScriptedServer,
    health: watch::Sender<Health>,
    leave: CancellationToken,
    events: mpsc::UnboundedReceiver<String>,
    end: JoinHandle<SessionEnd>,
}

async fn start() -> Fixture {
    let (server, connector) = scripted_server();
    let (health, receiver) = watch::channel(Health::of_proxy(Ready));
    let leave = CancellationToken::new();
    let session = Session {
        connection: connector.connect().await.unwrap().into(),
        dataplane: Arc::new(dataplane()),
        attempt: Attempt { instance: 7, number: 3 },
        health: receiver,
        leave: leave.clone(),
    };
    let (observer, events) = mpsc::unbounded_channel();
    let end = tokio::spawn(session.run(move |event| {
        let event = match event {
            SessionEvent::Welcomed(welcome) => format!("welcomed {}", welcome.session_id),
            SessionEvent::Acked { after } => format!("acked after {} ms", after.as_millis()),
        };
        observer.send(event).unwrap();
    }));
    Fixture { server, health, leave, events, end }
}

impl Fixture {
    fn set_inbound(&self, state: HealthState) {
        self.health.send_modify(|health| health.set_inbound(0, state));
    }
}

fn inbound(report: &proto::HealthReport) -> Option<proto::HealthState> {
    report.inbounds.first().map(proto::InboundHealth::state)
}

fn welcome(session: &ScriptedSession) {
    session.send(ServerMessage::Welcome(Welcome { session_id: "s-1".into(), ..Welcome::default() }));
}

#[tokio::test(start_paused = true)]
async fn a_session_sends_a_hello_and_after_the_welcome_a_report() {
    let mut fixture = start().await;
    let mut session = fixture.server.session().await;
    let hello = session.hello().await;
    assert_eq!(hello.dataplane.unwrap(), convert::dataplane_to_proto(&dataplane()));
    assert_eq!(hello.agent_version, "test");
    assert_eq!((hello.instance, hello.attempt), (7, 3));
    assert_eq!(hello.heartbeat_interval, Some(prost_types::Duration { seconds: 6, nanos: 0 }));
    session.no_message_for(WELCOME_TIMEOUT / 2).await;
    welcome(&session);
    let report = session.report().await;
    assert_eq!((report.sequence, report.proxy(), inbound(&report)), (1, proto::HealthState::Ready, None));
    time::advance(Duration::from_millis(40)).await;
    session.ack(1);
    assert_eq!(fixture.events.recv().await.unwrap(), "welcomed s-1");
    assert_eq!(fixture.events.recv().await.unwrap(), "acked after 40 ms");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_health_is_reported_at_once() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    for (sequence, state, reported) in
        [(2, Ready, proto::HealthState::Ready), (3, NotReady, proto::HealthState::NotReady)]
    {
        session.no_message_for(Duration::from_secs(10)).await;
        let changed_at = Instant::now();
        fixture.set_inbound(state);
        let report = session.report().await;
        assert_eq!((report.sequence, inbound(&report)), (sequence, Some(reported)));
        assert!(changed_at.elapsed() < Duration::from_millis(10), "{:?}", changed_at.elapsed());
        session.ack(sequence);
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_health_is_reported_every_30_s() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    for sequence in 2..5 {
        let before = Instant::now();
        let report = session.report().await;
        assert_eq!(report.sequence, sequence);
        assert_eq!(before.elapsed().as_secs(), 30);
        session.ack(sequence);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_report_waits_for_the_ack_and_has_the_latest_health() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    fixture.set_inbound(Ready);
    assert_eq!(session.report().await.sequence, 2);
    fixture.set_inbound(NotReady);
    session.no_message_for(ACK_TIMEOUT / 4).await;
    fixture.health.send_modify(|health| health.proxy = NotReady);
    session.no_message_for(ACK_TIMEOUT / 4).await;
    // An ack of another sequence does not release the next report.
    session.ack(1);
    session.no_message_for(ACK_TIMEOUT / 4).await;
    session.ack(2);
    let report = session.report().await;
    assert_eq!((report.sequence, report.proxy()), (3, proto::HealthState::NotReady));
    assert_eq!(inbound(&report), Some(proto::HealthState::NotReady));
    session.ack(3);
    session.no_message_for(Duration::from_secs(29)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_if_a_report_is_not_acknowledged_within_5_s() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    fixture.set_inbound(Ready);
    session.report().await;
    let reported_at = Instant::now();
    let end = in_time(fixture.end).await.unwrap();
    assert_eq!(reported_at.elapsed().as_secs(), 5);
    assert!(matches!(&end, SessionEnd::Lost(status) if status.message() == "no ack within 5s"), "{end:?}");
    session.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_is_sent_whenever_nothing_else_was_for_6_s() {
    let mut fixture = start().await;
    let mut session = fixture.server.session_with_heartbeats().await;
    for _ in 0..3 {
        let last = Instant::now();
        session.heartbeat().await;
        assert_eq!(last.elapsed().as_secs(), 6);
        session.ack_heartbeat();
    }
    session.no_message_for(Duration::from_secs(4)).await;
    fixture.set_inbound(Ready);
    let report = session.report().await;
    session.ack(report.sequence);
    let reported_at = Instant::now();
    session.heartbeat().await;
    assert_eq!(reported_at.elapsed().as_secs(), 6);
    // Nothing but the ack of the heartbeat shows that the server answers.
    fixture.set_inbound(NotReady);
    let report = session.report().await;
    session.ack(report.sequence);
    let heartbeat_at = Instant::now();
    let end = in_time(fixture.end).await.unwrap();
    assert_eq!(heartbeat_at.elapsed().as_secs(), 3);
    let SessionEnd::Lost(status) = &end else { panic!("{end:?}") };
    assert_eq!(status.message(), "no ack of a heartbeat within 3s");
    session.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_may_follow_a_report_and_a_heartbeat_that_are_not_acknowledged() {
    let mut fixture = start().await;
    let mut session = fixture.server.session_with_heartbeats().await;
    session.no_message_for(Duration::from_millis(5_999)).await;
    fixture.set_inbound(Ready);
    time::advance(Duration::from_millis(1)).await;
    fixture.leave.cancel();
    while !matches!(session.next().await, Some(ClientMessage::Goodbye(_))) {}
    drop(session);
    assert!(matches!(in_time(fixture.end).await.unwrap(), SessionEnd::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_if_the_hello_is_not_welcomed_within_5_s() {
    let mut fixture = start().await;
    let began = Instant::now();
    let mut session = fixture.server.session().await;
    session.hello().await;
    let end = in_time(fixture.end).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert!(
        matches!(&end, SessionEnd::Lost(status) if status.message() == "no welcome within 5s"),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn leaving_sends_a_goodbye_and_waits_for_the_end_of_the_stream() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    fixture.leave.cancel();
    session.goodbye().await;
    assert!(!fixture.end.is_finished());
    drop(session);
    assert!(matches!(in_time(fixture.end).await.unwrap(), SessionEnd::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_may_follow_a_report_that_is_not_acknowledged() {
    // Both happen at once, and the session may process either first.
    for _ in 0..32 {
        let mut fixture = start().await;
        let mut session = fixture.server.acknowledged_session().await;
        while !fixture.events.recv().await.unwrap().starts_with("acked") {}
        fixture.set_inbound(Ready);
        fixture.leave.cancel();
        let mut message = session.next().await;
        if matches!(message, Some(ClientMessage::Health(_))) {
            message = session.next().await;
        }
        assert!(matches!(message, Some(ClientMessage::Goodbye(_))), "{message:?}");
        drop(session);
        assert!(matches!(in_time(fixture.end).await.unwrap(), SessionEnd::Goodbye));
    }
}

#[tokio::test(start_paused = true)]
async fn leaving_before_the_welcome_sends_a_goodbye() {
    let mut fixture = start().await;
    let mut session = fixture.server.session().await;
    session.hello().await;
    fixture.leave.cancel();
    session.goodbye().await;
    welcome(&session);
    drop(session);
    assert!(matches!(in_time(fixture.end).await.unwrap(), SessionEnd::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn leaving_waits_at_most_2_s_for_the_end_of_the_stream() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    fixture.leave.cancel();
    session.goodbye().await;
    let goodbye_at = Instant::now();
    let end = in_time(fixture.end).await.unwrap();
    assert_eq!(goodbye_at.elapsed().as_secs(), 2);
    assert!(matches!(end, SessionEnd::Lost(status) if status.code() == Code::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_session_without_a_goodbye() {
    let mut fixture = start().await;
    let session = fixture.server.acknowledged_session().await;
    session.drain(7);
    let end = in_time(fixture.end).await.unwrap();
    assert!(matches!(&end, SessionEnd::Drained { reason, .. } if reason == "moving"), "{end:?}");
    assert_eq!(end.retry_after(), Duration::from_secs(7));
    session.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_status_is_a_loss() {
    let mut fixture = start().await;
    drop(fixture.server.acknowledged_session().await);
    let end = in_time(fixture.end).await.unwrap();
    assert!(matches!(&end, SessionEnd::Lost(status) if status.code() == Code::Unavailable), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unexpected_message_is_ignored() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    session.send(ServerMessage::Welcome(Welcome::default()));
    fixture.set_inbound(Ready);
    assert_eq!(session.report().await.sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_health_is_reported_after_its_sender_is_dropped() {
    let mut fixture = start().await;
    let mut session = fixture.server.acknowledged_session().await;
    drop(fixture.health);
    let report = session.report().await;
    assert_eq!((report.sequence, report.proxy()), (2, proto::HealthState::Ready));
}

#[tokio::test(start_paused = true)]
async fn an_unresponsive_connection_is_detected_by_heartbeats_within_9_s() {
    let detected_after = detects_a_cut(ScriptedServer::session_with_heartbeats).await;
    assert!(detected_after <= Duration::from_secs(9), "{detected_after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_unresponsive_connection_to_an_older_server_is_detected_by_pings_within_10_s() {
    let detected_after = detects_a_cut(ScriptedServer::acknowledged_session).await;
    assert!(detected_after <= Duration::from_secs(10), "{detected_after:?}");
}

/// As after a power or network failure: the connection does not end, and nothing arrives. Returns the time
/// until the session ends.
async fn detects_a_cut(admit: impl AsyncFnOnce(&mut ScriptedServer) -> ScriptedSession) -> Duration {
    let (mut server, connector) = scripted_server();
    let (client, mut near) = duplex(64 * 1024);
    let (mut far, end) = duplex(64 * 1024);
    let cut = CancellationToken::new();
    let is_cut = cut.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            () = is_cut.cancelled() => std::future::pending().await,
        }
    });
    let session = Session {
        connection: connector.connect_over(client, end).await.unwrap().into(),
        dataplane: Arc::new(dataplane()),
        attempt: Attempt::default(),
        health: watch::channel(Health::of_proxy(Ready)).1,
        leave: CancellationToken::new(),
    };
    let end = tokio::spawn(session.run(|_| {}));
    let _session = admit(&mut server).await;
    cut.cancel();
    let cut_at = Instant::now();
    let end = in_time(end).await.unwrap();
    assert!(matches!(end, SessionEnd::Lost(_)), "{end:?}");
    cut_at.elapsed()
}

#[tokio::test(start_paused = true)]
async fn many_sessions_share_a_channel() {
    let (mut server, connector) = scripted_server();
    let channel = connector.connect().await.unwrap();
    let (_health, receiver) = watch::channel(Health::of_proxy(Ready));
    let leave = CancellationToken::new();
    let dataplane = Arc::new(dataplane());
    for _ in 0..100 {
        let session = Session {
            connection: channel.clone().into(),
            dataplane: dataplane.clone(),
            attempt: Attempt::default(),
            health: receiver.clone(),
            leave: leave.clone(),
        };
        tokio::spawn(session.run(|_| {}));
    }
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(server.acknowledged_session().await);
    }
    leave.cancel();
    for mut session in sessions {
        session.goodbye().await;
    }
}
