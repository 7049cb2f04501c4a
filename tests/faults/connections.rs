//! Many connections, of which random ones are reset, closed, stopped and continued.

use std::time::Duration;

use crate::{
    BOUND, count,
    fleet::Fleet,
    member::{DesiredState, Presence},
    support::Server,
    verifier::Verifier,
};

/// Longest time until all clients, which connect at once, are counted.
const ARRIVAL: Duration = Duration::from_mins(1);
const WORKLOADS: usize = 50;

/// Each fault is applied to a tenth of the members.
const FAULTS: [DesiredState; 4] = [
    DesiredState { presence: Presence::Reset, healthy: true },
    DesiredState { presence: Presence::Closed, healthy: true },
    DesiredState { presence: Presence::Stopped, healthy: true },
    DesiredState { presence: Presence::Connected, healthy: false },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_are_exact_after_connections_are_reset_closed_stopped_and_continued() {
    let connections = count("HEADCOUNT_FAULT_CONNECTIONS", 1_000);
    let server = Server::start("").await;
    let fleet = Fleet::launch(server.grpc, "proxy", connections, WORKLOADS);
    let mut verifier = Verifier::new(server.grpc, server.http);
    verifier.expect("all are connected", &fleet.expected(), ARRIVAL).await;
    let mut members: Vec<_> = (0..connections).collect();
    for round in 1..=count("HEADCOUNT_FAULT_ROUNDS", 2) {
        fastrand::shuffle(&mut members);
        let tenths = members.chunks(connections.div_ceil(10));
        for (state, tenth) in FAULTS.into_iter().zip(tenths) {
            for member in tenth {
                fleet.set(*member, state);
            }
        }
        verifier.expect(&format!("round {round}, four faults"), &fleet.expected(), BOUND).await;
        fleet.set_all(DesiredState::HEALTHY);
        verifier.expect(&format!("round {round}, all connected again"), &fleet.expected(), BOUND).await;
    }
    assert_eq!(verifier.observed().resets, 1, "the watch was never interrupted");
}
