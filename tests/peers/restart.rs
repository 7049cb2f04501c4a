//! A restart of the server at the same address, from which all clients recover by themselves.

use serde_json::Value;

use crate::support::{Program, Server, Signal, gateway};

/// The counts in the last line that `get workloads -w -o json` has printed.
fn last_counts(out: &str) -> Option<[u64; 3]> {
    let change: Value = serde_json::from_str(out.lines().last()?).ok()?;
    let counts = &change["object"]["status"]["dataplaneProxies"];
    Some([counts["connected"].as_u64()?, counts["healthy"].as_u64()?, counts["total"].as_u64()?])
}

async fn wait_for(watch: &Program, counts: [u64; 3]) {
    watch.wait_for_stdout(&format!("{counts:?}"), |out| (last_counts(out)? == counts).then_some(())).await;
}

/// Restarts a server with three agents, a watch, and a wait for a fourth agent; all recover.
async fn all_recover(signal: Signal) -> (Server, [Program; 3]) {
    let mut server = Server::start("--drain-timeout 5s").await;
    let agent = |server: &Server, name: &str| server.agent(name, &gateway("default", "web", name));
    let agents = ["web-1", "web-2", "web-3"].map(|name| agent(&server, name));
    server.wait_for_counts("web", [3, 3, 3]).await;
    let watch = server.client("get workloads -w -o json");
    wait_for(&watch, [3, 3, 3]).await;
    let wait = server.client("wait workload web --healthy 4 --timeout 25s");
    server.wait_for_watchers(2).await;

    let ended = server.restart(signal).await;
    if signal == Signal::TERM {
        ended.expect_exit(0);
    }
    watch.wait_for_stderr("watch interrupted").await;
    wait.wait_for_stderr("trying again").await;
    server.wait_for_counts("web", [3, 3, 3]).await;
    watch.wait_for_stderr("\nreconnected\n").await;
    wait_for(&watch, [3, 3, 3]).await;

    let _fourth = agent(&server, "web-4");
    let waited = wait.end().await.expect_exit(0);
    assert_eq!(waited.out, "workload default/web: 4 connected, 4 healthy, 4 total\n", "{waited}");
    wait_for(&watch, [4, 4, 4]).await;
    (server, agents)
}

#[tokio::test]
async fn all_clients_reconnect_to_a_server_that_was_killed() {
    let (_server, agents) = all_recover(Signal::KILL).await;
    for agent in &agents {
        agent.wait_for_stderr("session lost").await;
    }
}

#[tokio::test]
async fn agents_wait_for_the_retry_delay_of_a_drain_before_they_reconnect() {
    let (server, agents) = all_recover(Signal::TERM).await;
    for agent in agents {
        agent.wait_for_stderr("session drained").await;
        // The agent has waited for the retry delay, and has not lost a session.
        agent.signal(Signal::TERM);
        let ended = agent.end().await.expect_exit(0);
        assert!(!ended.err.contains("session lost"), "{ended}");
        let waited =
            ended.err.split("next_attempt_in=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let waited: humantime::Duration = waited.unwrap().parse().unwrap();
        assert!(waited.as_secs_f64() >= 1.0, "{ended}");
    }
    drop(server);
}
