//! Throttling of flapping proxies and of many proxies that connect at once. Other clients are not
//! affected, and the last state is exact.

use std::time::{Duration, Instant};

use headcount::proto::{HealthState, session_response::Message as Response};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    proxy::{Proxy, SessionStream, hello},
    support::{Server, assert_status, dataplane, in_time, still_serves},
};

const FLAPS: u64 = 1_000;

#[tokio::test]
async fn changes_of_a_flapping_proxy_are_throttled_and_its_last_state_is_published() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    let before = server.list().await.revision;
    // The last report is READY.
    for flap in 0..=FLAPS {
        proxy.send_health(if flap % 2 == 0 { HealthState::Ready } else { HealthState::NotReady });
    }
    let (mut acks, mut acked) = (0, 0);
    while acked <= FLAPS {
        let Response::Ack(ack) = proxy.stream.receive().await else { panic!("expected an ack") };
        assert!(ack.sequence > acked, "{} after {acked}", ack.sequence);
        (acks, acked) = (acks + 1, ack.sequence);
    }
    assert_eq!(server.counts("web").await, (1, 1, 1), "an acked state is published");
    let changes = server.list().await.revision - before;
    assert!(changes <= 10, "{changes} changes for {FLAPS} flaps");
    assert!(acks < FLAPS, "deferred reports share an ack");
    watch.read_until_revision(before + changes).await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    let deferred = server.scrape().await.value("headcount_health_reports_held_total");
    assert!(deferred.is_some_and(|deferred| deferred > 100), "{deferred:?}");
    still_serves(&server).await;
}

#[tokio::test]
async fn a_report_that_changes_nothing_is_acked_at_once_while_changes_are_deferred() {
    // Far longer than the test.
    let server = Server::with(|config| config.registry.flap_interval = Duration::from_hours(1)).await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    proxy.send_health(HealthState::NotReady);
    proxy.ready().await;
    proxy.ready().await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    // A goodbye does not wait for a deferred report.
    proxy.send_health(HealthState::NotReady);
    proxy.goodbye().await;
    assert_eq!(server.counts("web").await, (0, 0, 0));
}

#[tokio::test]
async fn a_dataplane_that_reconnects_repeatedly_is_admitted_once_per_flap_interval() {
    let interval = Duration::from_millis(300);
    let server = Server::with(|config| config.registry.flap_interval = interval).await;
    let start = Instant::now();
    for connection in 0..3 {
        let proxy = server.proxy(dataplane("a", "web")).await;
        assert!(start.elapsed() >= interval * connection, "{connection} after {:?}", start.elapsed());
        drop(proxy);
    }
    // Other dataplanes are admitted at once.
    still_serves(&server).await;
}

/// Connects, and retries after each rejection when its retry delay is over; returns the number of
/// rejections.
async fn connect_with_retries(server: &Server, name: String) -> (Proxy, u32) {
    let channel = server.connect().await;
    let mut rejections = 0;
    loop {
        let rejected = match SessionStream::try_open(channel.clone()).await {
            Ok(mut stream) => {
                stream.send(hello(dataplane(&name, "web")));
                match stream.responses.message().await {
                    Ok(_welcome) => return (Proxy::welcomed(stream), rejections),
                    Err(status) => status,
                }
            }
            Err(status) => status,
        };
        rejections += 1;
        sleep(retry_delay(&rejected)).await;
    }
}

fn retry_delay(rejected: &Status) -> Duration {
    assert_status(rejected, Code::ResourceExhausted, &["20 dataplanes a second", "max-session-rate"]);
    let retry = rejected.get_details_retry_info().and_then(|info| info.retry_delay);
    let retry = retry.expect("a retry delay");
    assert!(Duration::from_millis(100) < retry && retry < Duration::from_mins(1), "{retry:?}");
    retry
}

#[tokio::test]
async fn many_proxies_at_once_are_admitted_at_the_session_rate_and_all_in_the_end() {
    const PROXIES: u32 = 50;
    let server = Server::with(|config| config.registry.max_session_rate = 20).await;
    let server = std::sync::Arc::new(server);
    let (start, mut proxies) = (Instant::now(), JoinSet::new());
    for n in 0..PROXIES {
        let server = std::sync::Arc::clone(&server);
        proxies.spawn(async move { connect_with_retries(&server, format!("p{n}")).await });
    }
    let proxies = in_time("all welcomes", proxies.join_all()).await;
    assert!(
        start.elapsed() > Duration::from_secs(1),
        "20 in a burst and 20 per second take longer: {:?}",
        start.elapsed()
    );
    assert_eq!(server.counts("web").await, (PROXIES, 0, PROXIES));
    let rejections: u32 = proxies.iter().map(|(_, rejections)| rejections).sum();
    assert!(rejections > 0);
    server.wait_for_metric(r#"headcount_shed_total{limit="max-session-rate"}"#, rejections).await;
}
