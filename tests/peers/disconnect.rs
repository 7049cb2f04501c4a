//! The ways in which an agent disconnects, and the counts afterwards.

use std::time::{Duration, Instant};

use crate::support::{Counts, Program, Server, Signal, Watch, gateway, get};

/// Longest time for a change that is sent at once, with real processes and sockets.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Starts a server with two healthy agents of the Workload `web`.
async fn two_agents() -> (Server, [Program; 2], Watch) {
    let server = Server::start("").await;
    let agents = ["web-1", "web-2"].map(|name| server.agent(name, &gateway("default", "web", name)));
    let mut watch = server.watch("web").await;
    watch.until(Some([2, 2, 2])).await;
    (server, agents, watch)
}

/// Sends a signal to an agent, and returns the time until the watch delivers these counts, which must be
/// the next ones.
async fn time_until(watch: &mut Watch, agent: &Program, signal: Signal, counts: Option<Counts>) -> Duration {
    let before = watch.seen().len();
    let start = Instant::now();
    agent.signal(signal);
    watch.until(counts).await;
    assert_eq!(watch.seen()[before..], [counts]);
    start.elapsed()
}

#[tokio::test]
async fn a_killed_agent_is_disconnected_at_once_and_stays_registered() {
    let (server, [one, _two], mut watch) = two_agents().await;
    let after = time_until(&mut watch, &one, Signal::KILL, Some([1, 1, 2])).await;
    assert!(after < AT_ONCE, "{after:?}");
    let table = server.run("get workloads").await.expect_exit(0).out;
    assert_eq!(columns(&table), ["default", "web", "default", "1", "1", "2"]);
    let (_, metrics) = get(server.http, "/metrics").await.unwrap();
    assert!(metrics.contains("headcount_sessions_ended_total{reason=\"lost\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_stopped_agent_is_disconnected_within_ten_seconds_and_can_reconnect() {
    let (server, [one, _two], mut watch) = two_agents().await;
    let after = time_until(&mut watch, &one, Signal::STOP, Some([1, 1, 2])).await;
    assert!(after < Duration::from_secs(10), "{after:?}");
    assert!(
        after > Duration::from_secs(1),
        "the server notices it only by the missing answers to PINGs: {after:?}"
    );
    one.signal(Signal::CONT);
    one.wait_for_stderr("session lost").await;
    watch.until(Some([2, 2, 2])).await;
    drop(server);
}

#[tokio::test]
async fn an_agent_that_exits_on_a_signal_is_removed_at_once() {
    let (server, [one, two], mut watch) = two_agents().await;
    let after = time_until(&mut watch, &one, Signal::TERM, Some([1, 1, 1])).await;
    assert!(after < AT_ONCE, "{after:?}");
    let ended = one.end().await.expect_exit(0);
    assert!(ended.err.contains("said goodbye"), "{ended}");
    // SIGINT has the same effect, and the last agent takes the Workload with it.
    let after = time_until(&mut watch, &two, Signal::INT, None).await;
    assert!(after < AT_ONCE, "{after:?}");
    two.end().await.expect_exit(0);
    server.run("get workload web").await.expect_exit(1);
}

#[tokio::test]
async fn a_lost_dataplane_is_removed_after_the_retention() {
    let server = Server::start("--retention 300ms").await;
    let agent = server.agent("web-1", &gateway("default", "web", "web-1"));
    let mut watch = server.watch("web").await;
    watch.until(Some([1, 1, 1])).await;
    agent.signal(Signal::KILL);
    watch.until(None).await;
    assert_eq!(watch.seen().iter().rev().take(2).rev().collect::<Vec<_>>(), [&Some([0, 0, 1]), &None]);
}

#[tokio::test]
async fn a_second_agent_of_the_same_dataplane_takes_over() {
    let (server, [one, _two], mut watch) = two_agents().await;
    let newer = server.agent("web-1-again", &gateway("default", "web", "web-1"));
    let ended = one.end().await.expect_exit(2);
    assert!(ended.err.contains("another process with the identity of dataplane"), "{ended}");
    newer.wait_for_stderr("connected").await;
    watch.until(Some([2, 2, 2])).await;
    assert!(watch.seen().iter().flatten().all(|counts| counts[2] <= 2), "{:?}", watch.seen());
}

/// The cells of a table's only row without the last one, the age.
fn columns(table: &str) -> Vec<&str> {
    let mut cells: Vec<_> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    cells.pop();
    cells
}
