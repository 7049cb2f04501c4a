//! A watcher that does not read delays no writer and has no queue in the server. When it reads again,
//! it receives the exact last state.

use std::time::Duration;

use headcount::proto::{HealthState, WorkloadFilter, workload_service_client::WorkloadServiceClient};

use crate::{
    proxy::Proxy,
    support::{Server, dataplane, endpoint, in_time},
    watcher::Watcher,
};

const PROXIES: u64 = 10;
const CHANGES: u64 = 50_000;

/// Makes this many changes of health, and waits until each is acked.
async fn flap(server: &Server, changes: u64) -> Vec<Proxy> {
    let channel = server.connect().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..PROXIES {
        let dataplane = dataplane(&format!("p{n}"), &format!("w{}", n % 3));
        let mut proxy = Proxy::connect(channel.clone(), dataplane).await;
        tasks.spawn(async move {
            let last = changes / PROXIES;
            for n in 1..=last {
                let state = if n % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
                proxy.send_health(state);
            }
            for sequence in 1..=last {
                proxy.expect_ack(sequence).await;
            }
            proxy
        });
    }
    in_time("all acks", tasks.join_all()).await
}

/// Opens a watch with a small flow-control window and does not read from it.
async fn open_unread_watch(server: &Server) -> Watcher {
    let endpoint = endpoint(server.grpc()).initial_stream_window_size(1_024);
    let channel = endpoint.connect().await.expect("the server listens");
    let client = WorkloadServiceClient::new(channel);
    Watcher::open(client, WorkloadFilter::default(), "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_read_delays_no_writer_and_gets_the_last_state() {
    let server = Server::with(|config| {
        config.registry.flap_interval = Duration::ZERO;
        // On a busy machine the watcher's client may answer a PING late.
        config.limits.keepalive_timeout = Duration::from_mins(1);
    })
    .await;
    let mut watch = open_unread_watch(&server).await;
    let _proxies = flap(&server, CHANGES).await;
    let list = server.list().await;
    assert_eq!(list.revision, CHANGES + PROXIES);
    watch.read_until_revision(list.revision).await;
    assert_eq!(watch.workloads(), list.workloads);
    assert!(watch.messages < 500, "{} messages for {CHANGES} changes", watch.messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_falls_behind_the_change_log_gets_a_new_snapshot() {
    let server = Server::with(|config| {
        config.registry.flap_interval = Duration::ZERO;
        config.registry.log_capacity = 16;
    })
    .await;
    let mut watch = open_unread_watch(&server).await;
    let _proxies = flap(&server, 2_000).await;
    let list = server.list().await;
    let mut resets = 0;
    while watch.revision < list.revision {
        resets += usize::from(watch.next().await.reset);
    }
    assert_eq!(watch.workloads(), list.workloads);
    assert!(resets >= 2, "the first snapshot, and one after the watcher fell behind");
    assert!(watch.messages < 500, "{} messages", watch.messages);
}
