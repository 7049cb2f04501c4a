//! Two agents of one identity whose supervisors start them again whenever they exit, without any
//! fault of the network.

use std::time::Duration;

use fastrand::Rng;
use headcount::{
    proto::{
        ListEventsRequest, WatchWorkloadsRequest, event_service_client::EventServiceClient,
        workload_service_client::WorkloadServiceClient,
    },
    registry::RegistrySettings,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    agent::Agent,
    client::{self, ConnectedTo},
    dataplane::{dataplane, health},
    net::{Host, Network},
    server::{Server, set_wall_clock},
};

const SEEDS: u64 = 50;
/// The host of the watch; the agents have the hosts before it.
const OBSERVER: Host = 2;
/// Much longer than the memory of takeovers.
const LENGTH: Duration = Duration::from_mins(10);

/// Runs an agent of dataplane 0, and starts it again within two seconds whenever it exits.
async fn supervise(network: Network, host: Host, mut random: Rng) {
    let healthy = watch::Sender::new(health(0, true));
    loop {
        sleep(Duration::from_millis(random.u64(..2_000))).await;
        let agent = Agent::start(&network, host, dataplane(0, 0), healthy.subscribe(), None);
        let _exited = agent.result().await;
    }
}

/// Runs both, and returns how often the number of healthy proxies fell, and the reasons of the events.
async fn falls(seed: u64) -> (usize, Vec<String>) {
    set_wall_clock(1_800_000_000);
    let (network, mut random) = (Network::new(seed, OBSERVER + 1), Rng::with_seed(seed));
    let mut server = Server::new(&network, RegistrySettings::default());
    server.start().await;
    let channel = client::connect(network.clone(), OBSERVER, ConnectedTo::default()).await.unwrap();
    let mut workloads = WorkloadServiceClient::new(channel.clone());
    let mut messages =
        workloads.watch_workloads(WatchWorkloadsRequest::default()).await.unwrap().into_inner();
    let supervisors: Vec<_> = (0..OBSERVER)
        .map(|host| {
            network.set_latency(host, Duration::from_millis(random.u64(1..200)));
            tokio::spawn(supervise(network.clone(), host, random.fork()))
        })
        .collect();
    let (end, mut healthy, mut falls) = (Instant::now() + LENGTH, 0, 0);
    while let Ok(message) = timeout_at(end, messages.message()).await {
        for workload in message.unwrap().expect("an open watch").upserted {
            let counts = workload.status.unwrap().dataplane_proxies.unwrap();
            falls += usize::from(counts.healthy < healthy);
            healthy = counts.healthy;
        }
    }
    assert_eq!(healthy, 1);
    let events = EventServiceClient::new(channel).list_events(ListEventsRequest::default()).await.unwrap();
    supervisors.iter().for_each(tokio::task::JoinHandle::abort);
    (falls, events.into_inner().events.into_iter().map(|event| event.reason).collect())
}

#[test]
fn two_supervised_agents_change_the_counts_at_most_once() {
    for seed in 0..SEEDS {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        fastrand::seed(seed);
        let (falls, events) = runtime.block_on(falls(seed));
        assert!(falls <= 1, "seed {seed}: {falls} falls");
        assert_eq!(events, ["DuplicateIdentity"], "seed {seed}");
    }
}
