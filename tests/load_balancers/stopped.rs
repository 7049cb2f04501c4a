//! Peers that are stopped behind a balancer, which itself stays alive and answers PINGs.

use std::time::Instant;

use crate::{
    BOUND,
    fixture::{Fixture, WORKLOAD, wait_for_printed, with_each_balancer},
    support::{Program, Signal},
};

#[tokio::test]
async fn a_stopped_agent_is_not_counted_and_returns() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let agents = fixture.agents(2).await;
        let mut watch = fixture.server.watch(WORKLOAD).await;
        agents[0].signal(Signal::STOP);
        fixture.expect("an agent is stopped", &mut watch, [1, 1, 2], BOUND).await;
        agents[0].signal(Signal::CONT);
        fixture.expect("the agent continues", &mut watch, [2, 2, 2], BOUND).await;
    })
    .await;
}

#[tokio::test]
async fn agents_and_watches_detect_a_stopped_server_and_return_to_it() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let agents = fixture.agents(2).await;
        let reader = fixture.client("get workloads -w -o json");
        wait_for_printed(&reader, [2, 2, 2]).await;

        let stopped = Instant::now();
        fixture.server.program.signal(Signal::STOP);
        let agents_detect = async {
            for agent in &agents {
                agent.wait_for_stderr("session lost").await;
            }
            fixture.print_time("agents detect a stopped server", stopped, BOUND);
        };
        let reader_detects = async {
            reader.wait_for_stderr("watch interrupted").await;
            fixture.print_time("get -w detects a stopped server", stopped, BOUND);
        };
        tokio::join!(agents_detect, reader_detects);

        let continued = Instant::now();
        fixture.server.program.signal(Signal::CONT);
        for agent in &agents {
            wait_for_second_session(agent).await;
        }
        fixture.server.wait_for_counts(WORKLOAD, [2, 2, 2]).await;
        fixture.print_time("agents return to a server that continues", continued, BOUND);
        // Only a watch that was opened again receives this.
        let _third = fixture.client(&fixture.agent_arguments(2));
        wait_for_printed(&reader, [3, 3, 3]).await;
    })
    .await;
}

async fn wait_for_second_session(agent: &Program) {
    agent.wait_for_stderr_matching("a second session", |err| err.matches(" connected ").count() > 1).await;
}
