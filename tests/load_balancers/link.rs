//! A link that is down on one side of a balancer.

use std::time::Instant;

use crate::{
    BOUND,
    fixture::{Fixture, WORKLOAD, wait_for_printed, with_each_balancer},
};

#[tokio::test]
async fn agents_and_watches_behind_a_link_that_is_down_are_lost_and_return() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let _near = fixture.agents(1).await;
        let far = [1, 2].map(|number| fixture.client_over_link(&fixture.agent_arguments(number)));
        let mut watch = fixture.server.watch(WORKLOAD).await;
        watch.until(Some([3, 3, 3])).await;
        let reader = fixture.client_over_link("get workloads -w -o json");
        wait_for_printed(&reader, [3, 3, 3]).await;

        let cut = Instant::now();
        fixture.client_link.cut();
        let counts_fall = async {
            watch.until(Some([1, 1, 3])).await;
            fixture.print_time("agents behind a cut link are not counted", cut, BOUND);
        };
        let agents_detect = async {
            for agent in &far {
                agent.wait_for_stderr("session lost").await;
            }
            fixture.print_time("agents detect a cut link", cut, BOUND);
        };
        let reader_detects = async {
            reader.wait_for_stderr("watch interrupted").await;
            fixture.print_time("get -w detects a cut link", cut, BOUND);
        };
        tokio::join!(counts_fall, agents_detect, reader_detects);

        fixture.client_link.restore();
        fixture.expect("the link is restored", &mut watch, [3, 3, 3], BOUND).await;
        let _fourth = fixture.client(&fixture.agent_arguments(3));
        wait_for_printed(&reader, [4, 4, 4]).await;
    })
    .await;
}

#[tokio::test]
async fn all_agents_are_lost_and_return_if_the_link_to_the_server_is_down() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let agents = fixture.agents(3).await;
        let mut watch = fixture.server.watch(WORKLOAD).await;

        let cut = Instant::now();
        fixture.server_link.cut();
        let counts_fall = async {
            watch.until(Some([0, 0, 3])).await;
            fixture.print_time("the server detects a cut link to the balancer", cut, BOUND);
        };
        let agents_detect = async {
            for agent in &agents {
                agent.wait_for_stderr("session lost").await;
            }
            fixture.print_time("agents detect a cut link to the server", cut, BOUND);
        };
        tokio::join!(counts_fall, agents_detect);

        fixture.server_link.restore();
        fixture.expect("the link to the server is restored", &mut watch, [3, 3, 3], BOUND).await;
    })
    .await;
}
