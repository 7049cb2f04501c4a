//! Restarts of the server behind a balancer.

use std::time::Instant;

use crate::{
    BOUND,
    fixture::{Fixture, WORKLOAD, wait_for_printed, with_each_balancer},
    support::{Counts, Signal, Watch},
};

#[tokio::test]
async fn agents_and_watches_return_to_a_restarted_server() {
    with_each_balancer(async |kind, program| {
        let mut fixture = Fixture::start(kind, program, "--drain-timeout 5s").await;
        let mut agents = fixture.agents(5).await;
        let reader = fixture.client("get workloads -w -o json");
        wait_for_printed(&reader, [5, 5, 5]).await;
        for (signal, sign) in [(Signal::KILL, "session lost"), (Signal::TERM, "session drained")] {
            let ended = fixture.server.restart(signal).await;
            let start = Instant::now();
            assert!(signal == Signal::KILL || ended.code == Some(0), "{kind:?}: {ended}");
            let count = u32::try_from(agents.len()).unwrap();
            let mut watch = fixture.server.watch(WORKLOAD).await;
            watch.until(Some([count; 3])).await;
            fixture.print_time(&format!("restart after {signal:?}"), start, BOUND);
            assert_never_fell(&watch);
            for agent in &agents {
                agent.wait_for_stderr(sign).await;
            }
            // A change that only the new server has shows that the reader follows it.
            agents.push(fixture.client(&fixture.agent_arguments(agents.len())));
            wait_for_printed(&reader, [count + 1; 3]).await;
        }
    })
    .await;
}

/// Asserts that no count ever fell: while agents return, each change adds to the counts.
fn assert_never_fell(watch: &Watch) {
    let seen: Vec<_> = watch.seen().iter().map(|counts| counts.unwrap_or_default()).collect();
    let fell = |pair: &[Counts]| pair[0].iter().zip(pair[1]).any(|(before, after)| *before > after);
    assert!(!seen.windows(2).any(fell), "{seen:?}");
}
