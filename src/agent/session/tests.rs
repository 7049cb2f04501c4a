//! Sessions against a server that is played by hand, on a paused clock.

use tokio::{
    io::{copy_bidirectional, duplex},
    task::JoinHandle,
};
use tonic::Code;

use super::*;
use crate::{
    agent::scripted_server::{Fake, Played, dataplane, fake, in_time},
    model::{
        Attempt,
        HealthState::{self, NotReady, Ready},
    },
    proto,
};

/// A running session and everything that moves it.
struct Stage {
    server: Fake,
    health: watch::Sender<Health>,
    leave: CancellationToken,
    events: mpsc::UnboundedReceiver<String>,
    end: JoinHandle<SessionEnd>,
}

async fn stage() -> Stage {
    let (server, door) = fake();
    let (health, receiver) = watch::channel(Health::of_proxy(Ready));
    let leave = CancellationToken::new();
    let session = Session {
        channel: door.connect().await.unwrap(),
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
    Stage { server, health, leave, events, end }
}

impl Stage {
    fn set_inbound(&self, state: HealthState) {
        self.health.send_modify(|health| health.set_inbound(0, state));
    }
}

fn inbound(report: &proto::HealthReport) -> Option<proto::HealthState> {
    report.inbounds.first().map(proto::InboundHealth::state)
}

fn welcome(session: &Played) {
    session.say(Hear::Welcome(Welcome { session_id: "s-1".into(), ..Welcome::default() }));
}

#[tokio::test(start_paused = true)]
async fn the_hello_comes_first_and_the_report_after_the_welcome() {
    let mut stage = stage().await;
    let mut session = stage.server.session().await;
    let hello = session.hello().await;
    assert_eq!(hello.dataplane.unwrap(), convert::dataplane_to_proto(&dataplane()));
    assert_eq!(hello.agent_version, "test");
    assert_eq!((hello.instance, hello.attempt), (7, 3));
    session.silence(WELCOME_WITHIN / 2).await;
    welcome(&session);
    let report = session.report().await;
    assert_eq!((report.sequence, report.proxy(), inbound(&report)), (1, proto::HealthState::Ready, None));
    time::advance(Duration::from_millis(40)).await;
    session.ack(1);
    assert_eq!(stage.events.recv().await.unwrap(), "welcomed s-1");
    assert_eq!(stage.events.recv().await.unwrap(), "acked after 40 ms");
}

#[tokio::test(start_paused = true)]
async fn a_change_is_reported_at_once() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    for (sequence, state, stated) in
        [(2, Ready, proto::HealthState::Ready), (3, NotReady, proto::HealthState::NotReady)]
    {
        session.silence(Duration::from_secs(10)).await;
        let changed_at = Instant::now();
        stage.set_inbound(state);
        let report = session.report().await;
        assert_eq!((report.sequence, inbound(&report)), (sequence, Some(stated)));
        assert!(changed_at.elapsed() < Duration::from_millis(10), "{:?}", changed_at.elapsed());
        session.ack(sequence);
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_health_is_stated_every_30_s() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    for sequence in 2..5 {
        let before = Instant::now();
        let report = session.report().await;
        assert_eq!(report.sequence, sequence);
        assert_eq!(before.elapsed().as_secs(), 30);
        session.ack(sequence);
    }
}

#[tokio::test(start_paused = true)]
async fn one_report_is_under_way_and_then_the_newest_state_follows() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    stage.set_inbound(Ready);
    assert_eq!(session.report().await.sequence, 2);
    stage.set_inbound(NotReady);
    session.silence(ACK_WITHIN / 4).await;
    stage.health.send_modify(|health| health.proxy = NotReady);
    session.silence(ACK_WITHIN / 4).await;
    // An ack of something else releases nothing.
    session.ack(1);
    session.silence(ACK_WITHIN / 4).await;
    session.ack(2);
    let report = session.report().await;
    assert_eq!((report.sequence, report.proxy()), (3, proto::HealthState::NotReady));
    assert_eq!(inbound(&report), Some(proto::HealthState::NotReady));
    session.ack(3);
    session.silence(Duration::from_secs(29)).await;
}

#[tokio::test(start_paused = true)]
async fn a_report_without_an_ack_ends_the_session() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    stage.set_inbound(Ready);
    session.report().await;
    let reported_at = Instant::now();
    let end = in_time(stage.end).await.unwrap();
    assert_eq!(reported_at.elapsed().as_secs(), 5);
    assert!(matches!(&end, SessionEnd::Lost(status) if status.message() == "no ack within 5s"), "{end:?}");
    session.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn a_hello_without_a_welcome_ends_the_session() {
    let mut stage = stage().await;
    let began = Instant::now();
    let mut session = stage.server.session().await;
    session.hello().await;
    let end = in_time(stage.end).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 5);
    assert!(
        matches!(&end, SessionEnd::Lost(status) if status.message() == "no welcome within 5s"),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_leaves_says_goodbye_and_waits_for_the_end() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    stage.leave.cancel();
    session.goodbye().await;
    assert!(!stage.end.is_finished());
    drop(session);
    assert!(matches!(in_time(stage.end).await.unwrap(), SessionEnd::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_fits_in_behind_a_report_under_way() {
    // Both happen at once: which one the session sees first is its choice.
    for _ in 0..32 {
        let mut stage = stage().await;
        let mut session = stage.server.settled().await;
        while !stage.events.recv().await.unwrap().starts_with("acked") {}
        stage.set_inbound(Ready);
        stage.leave.cancel();
        let mut said = session.next().await;
        if matches!(said, Some(Say::Health(_))) {
            said = session.next().await;
        }
        assert!(matches!(said, Some(Say::Goodbye(_))), "{said:?}");
        drop(session);
        assert!(matches!(in_time(stage.end).await.unwrap(), SessionEnd::Goodbye));
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_the_welcome_says_goodbye_too() {
    let mut stage = stage().await;
    let mut session = stage.server.session().await;
    session.hello().await;
    stage.leave.cancel();
    session.goodbye().await;
    welcome(&session);
    drop(session);
    assert!(matches!(in_time(stage.end).await.unwrap(), SessionEnd::Goodbye));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_that_nobody_answers_is_waited_for_2_s() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    stage.leave.cancel();
    session.goodbye().await;
    let said_at = Instant::now();
    let end = in_time(stage.end).await.unwrap();
    assert_eq!(said_at.elapsed().as_secs(), 2);
    assert!(matches!(end, SessionEnd::Lost(status) if status.code() == Code::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_session_without_a_goodbye() {
    let mut stage = stage().await;
    let session = stage.server.settled().await;
    session.drain(7);
    let end = in_time(stage.end).await.unwrap();
    assert!(matches!(&end, SessionEnd::Drained { reason, .. } if reason == "moving"), "{end:?}");
    assert_eq!(end.retry_after(), Duration::from_secs(7));
    session.dropped().await;
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_reason_is_a_loss() {
    let mut stage = stage().await;
    drop(stage.server.settled().await);
    let end = in_time(stage.end).await.unwrap();
    assert!(matches!(&end, SessionEnd::Lost(status) if status.code() == Code::Unavailable), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_newer_server_says_is_skipped() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    session.say(Hear::Welcome(Welcome::default()));
    stage.set_inbound(Ready);
    assert_eq!(session.report().await.sequence, 2);
}

#[tokio::test(start_paused = true)]
async fn health_that_nobody_will_change_stays_true() {
    let mut stage = stage().await;
    let mut session = stage.server.settled().await;
    drop(stage.health);
    let report = session.report().await;
    assert_eq!((report.sequence, report.proxy()), (2, proto::HealthState::Ready));
}

/// Power or network fails: nothing ends, nothing answers.
#[tokio::test(start_paused = true)]
async fn a_connection_that_falls_silent_is_noticed_within_8_s() {
    let (mut server, door) = fake();
    let (client, mut near) = duplex(64 * 1024);
    let (mut far, end) = duplex(64 * 1024);
    let cut = CancellationToken::new();
    let wire = cut.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            () = wire.cancelled() => std::future::pending().await,
        }
    });
    let session = Session {
        channel: door.connect_over(client, end).await.unwrap(),
        dataplane: Arc::new(dataplane()),
        attempt: Attempt::default(),
        health: watch::channel(Health::of_proxy(Ready)).1,
        leave: CancellationToken::new(),
    };
    let end = tokio::spawn(session.run(|_| {}));
    let mut settled = server.settled().await;
    settled.silence(Duration::from_secs(12)).await;
    cut.cancel();
    let cut_at = Instant::now();
    let end = in_time(end).await.unwrap();
    assert!(matches!(end, SessionEnd::Lost(_)), "{end:?}");
    assert!(cut_at.elapsed() <= Duration::from_secs(8), "{:?}", cut_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn sessions_share_a_channel() {
    let (mut server, door) = fake();
    let channel = door.connect().await.unwrap();
    let (_health, receiver) = watch::channel(Health::of_proxy(Ready));
    let leave = CancellationToken::new();
    let dataplane = Arc::new(dataplane());
    for _ in 0..100 {
        let session = Session {
            channel: channel.clone(),
            dataplane: dataplane.clone(),
            attempt: Attempt::default(),
            health: receiver.clone(),
            leave: leave.clone(),
        };
        tokio::spawn(session.run(|_| {}));
    }
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(server.settled().await);
    }
    leave.cancel();
    for mut session in sessions {
        session.goodbye().await;
    }
}
