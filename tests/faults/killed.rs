//! `kill -9` of the server, in the middle of its work, and a restart.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::interval};

use crate::{
    PROMISE, count,
    fleet::Fleet,
    support::{Server, Signal},
    truth::Truth,
};

const PROXIES: usize = 300;
const WORKLOADS: usize = 20;
/// Between two changes of health, of all proxies together.
const FLAP: Duration = Duration::from_millis(2);

async fn flaps(fleet: Arc<Fleet>) -> Infallible {
    let mut ticks = interval(FLAP);
    loop {
        ticks.tick().await;
        fleet.flip(fastrand::usize(..fleet.len()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_come_back_to_a_server_that_was_killed_under_load() {
    let mut server = Server::start("").await;
    let fleet = Arc::new(Fleet::launch(server.grpc, "killed", PROXIES, WORKLOADS));
    let mut truth = Truth::of(server.grpc, server.http);
    truth.is("all are there", &fleet.numbers(), PROMISE).await;
    for kill in 1..=count("HEADCOUNT_FAULT_KILLS", 3) {
        let resets = truth.shown().resets;
        let mut load = JoinSet::new();
        load.spawn(flaps(Arc::clone(&fleet)));
        truth.moves(50).await;
        server.restart(Signal::KILL).await;
        load.shutdown().await;
        truth.is(&format!("kill {kill}"), &fleet.numbers(), PROMISE).await;
        assert_eq!(truth.shown().resets, resets + 1, "the watch knows that it begins again");
    }
}
