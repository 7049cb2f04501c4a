//! A watcher that does not read: it stops no writer, costs no queue, and when it
//! reads at last it ends with the exact last state.

use std::time::Duration;

use headcount::proto::{HealthState, WorkloadFilter, workload_service_client::WorkloadServiceClient};

use crate::{
    fold::Fold,
    proxy::Proxy,
    support::{Server, dataplane, endpoint, soon},
};

const PROXIES: u64 = 10;
const CHANGES: u64 = 50_000;

/// Makes changes, and waits until each is acked.
async fn flood(server: &Server, changes: u64) -> Vec<Proxy> {
    let channel = server.connect().await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..PROXIES {
        let stated = dataplane(&format!("p{n}"), &format!("w{}", n % 3));
        let mut proxy = Proxy::hello(channel.clone(), stated).await;
        tasks.spawn(async move {
            let last = changes / PROXIES;
            for n in 1..=last {
                let state = if n % 2 == 1 { HealthState::Ready } else { HealthState::NotReady };
                proxy.say_health(state);
            }
            for sequence in 1..=last {
                proxy.acked(sequence).await;
            }
            proxy
        });
    }
    soon("all acks", tasks.join_all()).await
}

/// Its stream's window is soon full.
async fn stubborn(server: &Server) -> Fold {
    let endpoint = endpoint(server.grpc()).initial_stream_window_size(1_024);
    let channel = endpoint.connect().await.expect("it listens");
    let client = WorkloadServiceClient::new(channel);
    Fold::open(client, WorkloadFilter::default(), "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_reads_nothing_stops_nobody_and_ends_exact() {
    let server = Server::with(|config| {
        config.registry.flap_interval = Duration::ZERO;
        // Its client answers no PING in time when the machine is busy.
        config.limits.keepalive_timeout = Duration::from_mins(1);
    })
    .await;
    let mut watch = stubborn(&server).await;
    let _proxies = flood(&server, CHANGES).await;
    let list = server.list().await;
    assert_eq!(list.revision, CHANGES + PROXIES);
    watch.until_revision(list.revision).await;
    assert_eq!(watch.workloads(), list.workloads);
    assert!(watch.messages < 500, "{} messages for {CHANGES} changes", watch.messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_falls_out_of_the_log_gets_a_new_snapshot() {
    let server = Server::with(|config| {
        config.registry.flap_interval = Duration::ZERO;
        config.registry.log_capacity = 16;
    })
    .await;
    let mut watch = stubborn(&server).await;
    let _proxies = flood(&server, 2_000).await;
    let list = server.list().await;
    let mut resets = 0;
    while watch.revision < list.revision {
        resets += usize::from(watch.next().await.reset);
    }
    assert_eq!(watch.workloads(), list.workloads);
    assert!(resets >= 2, "the first snapshot, and one after the log was lost");
    assert!(watch.messages < 500, "{} messages", watch.messages);
}
