//! `kill -9` of the server under load, and a restart.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::interval};

use crate::{
    BOUND, count,
    fleet::Fleet,
    support::{Server, Signal},
    verifier::Verifier,
};

const PROXIES: usize = 300;
const WORKLOADS: usize = 20;
/// Time between two changes of health, over all proxies.
const FLIP_INTERVAL: Duration = Duration::from_millis(2);

async fn flip_health_forever(fleet: Arc<Fleet>) -> Infallible {
    let mut ticks = interval(FLIP_INTERVAL);
    loop {
        ticks.tick().await;
        fleet.flip_health(fastrand::usize(..fleet.len()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_proxies_reconnect_to_a_server_that_was_killed_under_load() {
    let mut server = Server::start("").await;
    let fleet = Arc::new(Fleet::launch(server.grpc, "killed", PROXIES, WORKLOADS));
    let mut verifier = Verifier::new(server.grpc, server.http);
    verifier.expect("all are connected", &fleet.expected(), BOUND).await;
    for kill in 1..=count("HEADCOUNT_FAULT_KILLS", 3) {
        let resets = verifier.observed().resets;
        let mut load = JoinSet::new();
        load.spawn(flip_health_forever(Arc::clone(&fleet)));
        verifier.wait_for_steps(50).await;
        server.restart(Signal::KILL).await;
        load.shutdown().await;
        verifier.expect(&format!("kill {kill}"), &fleet.expected(), BOUND).await;
        assert_eq!(
            verifier.observed().resets,
            resets + 1,
            "after a restart the watch starts with a snapshot"
        );
    }
}
