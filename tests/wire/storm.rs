//! Proxies that flap, and crowds that come at once: nobody else feels them, and
//! the end is exact.

use std::time::{Duration, Instant};

use headcount::proto::{HealthState, session_response::Message as Answer};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    proxy::{Line, Proxy, hello},
    support::{Server, assert_says, dataplane, soon, still_serves},
};

const FLAPS: u64 = 1_000;

#[tokio::test]
async fn a_proxy_that_flaps_is_seen_now_and_then_and_its_last_state_is() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    let before = server.list().await.revision;
    // The last one says that it is ready.
    for flap in 0..=FLAPS {
        proxy.say_health(if flap % 2 == 0 { HealthState::Ready } else { HealthState::NotReady });
    }
    let (mut acks, mut acked) = (0, 0);
    while acked <= FLAPS {
        let Answer::Ack(ack) = proxy.line.hear().await else { panic!("only acks are due") };
        assert!(ack.sequence > acked, "{} after {acked}", ack.sequence);
        (acks, acked) = (acks + 1, ack.sequence);
    }
    assert_eq!(server.counts("web").await, (1, 1, 1), "what was acked can be read");
    let changes = server.list().await.revision - before;
    assert!(changes <= 10, "{changes} changes for {FLAPS} flaps");
    assert!(acks < FLAPS, "a report that was held has no ack of its own");
    watch.until_revision(before + changes).await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    let held = server.scrape().await.value("headcount_health_reports_held_total");
    assert!(held.is_some_and(|held| held > 100), "{held:?}");
    still_serves(&server).await;
}

#[tokio::test]
async fn a_report_that_changes_nothing_is_acked_at_once_while_changes_are_held() {
    // Far longer than anybody here waits.
    let server = Server::with(|config| config.registry.flap_interval = Duration::from_hours(1)).await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    proxy.say_health(HealthState::NotReady);
    proxy.ready().await;
    proxy.ready().await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    // What is held when the session ends needs nobody to wait for it.
    proxy.say_health(HealthState::NotReady);
    proxy.goodbye().await;
    assert_eq!(server.counts("web").await, (0, 0, 0));
}

#[tokio::test]
async fn a_dataplane_that_connects_over_and_over_is_let_in_at_its_pace() {
    let pace = Duration::from_millis(300);
    let server = Server::with(|config| config.registry.flap_interval = pace).await;
    let start = Instant::now();
    for connection in 0..3 {
        let proxy = server.proxy(dataplane("a", "web")).await;
        assert!(start.elapsed() >= pace * connection, "{connection} after {:?}", start.elapsed());
        drop(proxy);
    }
    // Others need not wait for it.
    still_serves(&server).await;
}

/// Comes again whenever it is told to; returns how often it was sent away.
async fn insists(server: &Server, name: String) -> (Proxy, u32) {
    let channel = server.connect().await;
    let mut refusals = 0;
    loop {
        let line = Line::try_open(channel.clone()).await;
        let refused = match line {
            Ok(mut line) => {
                line.say(hello(dataplane(&name, "web")));
                match line.hear.message().await {
                    Ok(_welcome) => return (Proxy::of(line), refusals),
                    Err(status) => status,
                }
            }
            Err(status) => status,
        };
        refusals += 1;
        sleep(told(&refused)).await;
    }
}

fn told(refused: &Status) -> Duration {
    assert_says(refused, Code::ResourceExhausted, &["20 dataplanes a second", "max-session-rate"]);
    let retry =
        refused.get_details_retry_info().and_then(|info| info.retry_delay).expect("when to try again");
    assert!(Duration::from_millis(100) < retry && retry < Duration::from_mins(1), "{retry:?}");
    retry
}

#[tokio::test]
async fn a_crowd_is_let_in_at_the_rate_and_everybody_in_the_end() {
    const CROWD: u32 = 50;
    let server = Server::with(|config| config.registry.max_session_rate = 20).await;
    let server = std::sync::Arc::new(server);
    let (start, mut crowd) = (Instant::now(), JoinSet::new());
    for n in 0..CROWD {
        let server = std::sync::Arc::clone(&server);
        crowd.spawn(async move { insists(&server, format!("p{n}")).await });
    }
    let crowd = soon("all of them", crowd.join_all()).await;
    assert!(
        start.elapsed() > Duration::from_secs(1),
        "20 at once, and 20 in a second: {:?}",
        start.elapsed()
    );
    assert_eq!(server.counts("web").await, (CROWD, 0, CROWD));
    let refusals: u32 = crowd.iter().map(|(_, refusals)| refusals).sum();
    assert!(refusals > 0);
    server.until_metric(r#"headcount_shed_total{limit="max-session-rate"}"#, refusals).await;
}
