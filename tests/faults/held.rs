//! Many connections are held while random ones are cut, stopped and continued.

use std::time::Duration;

use crate::{
    PROMISE, count,
    fleet::Fleet,
    member::{Order, Presence},
    support::Server,
    truth::Truth,
};

/// All at once, of a server that is busy with nothing else.
const ARRIVAL: Duration = Duration::from_mins(1);
const WORKLOADS: usize = 50;

/// Every fault, of one member in ten each.
const FAULTS: [Order; 4] = [
    Order { presence: Presence::Reset, healthy: true },
    Order { presence: Presence::Closed, healthy: true },
    Order { presence: Presence::Stopped, healthy: true },
    Order { presence: Presence::Here, healthy: false },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_cut_stopped_and_continued() {
    let connections = count("HEADCOUNT_FAULT_CONNECTIONS", 1_000);
    let server = Server::start("").await;
    let fleet = Fleet::launch(server.grpc, "held", connections, WORKLOADS);
    let mut truth = Truth::of(server.grpc, server.http);
    truth.is("all are there", &fleet.numbers(), ARRIVAL).await;
    let mut members: Vec<_> = (0..connections).collect();
    for round in 1..=count("HEADCOUNT_FAULT_ROUNDS", 2) {
        fastrand::shuffle(&mut members);
        let tenths = members.chunks(connections.div_ceil(10));
        for (order, tenth) in FAULTS.into_iter().zip(tenths) {
            for member in tenth {
                fleet.tell(*member, order);
            }
        }
        truth.is(&format!("round {round}, four faults"), &fleet.numbers(), PROMISE).await;
        fleet.tell_all(Order::WELL);
        truth.is(&format!("round {round}, healed"), &fleet.numbers(), PROMISE).await;
    }
    assert_eq!(truth.shown().resets, 1, "the watch was never cut");
}
