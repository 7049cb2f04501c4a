//! Heartbeats and keep-alives: the documented time within which a failure is detected, behind a proxy
//! that answers PINGs; and what they cost.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    dataplane::DATAPLANES,
    fault::Fault,
    net::Crash,
    simulation::{OBSERVER, Simulation, WATCHERS},
};

const DETECTED_WITHIN: Duration = Duration::from_secs(10);
/// The first delay of a client's backoff, and handshakes.
const BACK_WITHIN: Duration = Duration::from_millis(1_500);

#[tokio::test(start_paused = true)]
async fn failures_behind_a_proxy_that_answers_pings_are_detected_within_ten_seconds() {
    for seed in 0..5 {
        fastrand::seed(seed);
        let mut simulation = Simulation::new(seed, false);
        simulation.start().await.unwrap();
        simulation.converge().await.unwrap();
        simulation.inject(&Fault::Strand { hosts: (0..OBSERVER).collect() }).await.unwrap();
        for dataplane in 0..DATAPLANES / 2 {
            let crash = Fault::AgentCrash { dataplane, crash: Crash::PowerLoss };
            simulation.inject(&crash).await.unwrap();
        }
        simulation.check_agreement().await.expect_err("the server has not detected it yet");
        sleep(DETECTED_WITHIN + BACK_WITHIN).await;
        // The dead agents count as lost; the other agents and all watchers have reconnected.
        simulation.check_agreement().await.unwrap_or_else(|difference| panic!("seed {seed}: {difference}"));
    }
}

#[tokio::test(start_paused = true)]
async fn neither_side_of_a_session_with_heartbeats_sends_pings() {
    let mut simulation = Simulation::new(0, false);
    simulation.start().await.unwrap();
    simulation.converge().await.unwrap();
    let pings = |of: std::ops::Range<usize>| of.map(|host| simulation.network.pings(host)).sum::<u64>();
    let (of_agents, of_watchers) = (pings(0..DATAPLANES), pings(DATAPLANES..OBSERVER));
    sleep(Duration::from_mins(5)).await;
    assert_eq!(pings(0..DATAPLANES), of_agents);
    // A watcher sends nothing, so the server tests its connection. Its client receives keep-alives.
    let minutes_of_pings = 5 * 60 * 10 / 65 * WATCHERS as u64;
    let sent = pings(DATAPLANES..OBSERVER) - of_watchers;
    assert!((minutes_of_pings - 20..=minutes_of_pings + 20).contains(&sent), "{sent}");
}
