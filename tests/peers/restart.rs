//! The server goes and comes back to the same address; nobody is helped.

use serde_json::Value;

use crate::support::{Program, Server, Signal, gateway};

/// What a watch of the command line has shown last of a Workload.
fn last_shown(out: &str) -> Option<[u64; 3]> {
    let change: Value = serde_json::from_str(out.lines().last()?).ok()?;
    let counts = &change["object"]["status"]["dataplaneProxies"];
    Some([counts["connected"].as_u64()?, counts["healthy"].as_u64()?, counts["total"].as_u64()?])
}

async fn shows(watch: &Program, counts: [u64; 3]) {
    watch.wait_for_stdout(&format!("{counts:?}"), |out| (last_shown(out)? == counts).then_some(())).await;
}

/// Three agents, a watch and a wait for a fourth live through a restart.
async fn all_recover(signal: Signal) -> (Server, [Program; 3]) {
    let mut server = Server::start("--drain-timeout 5s").await;
    let agent = |server: &Server, name: &str| server.agent(name, &gateway("default", "web", name));
    let agents = ["web-1", "web-2", "web-3"].map(|name| agent(&server, name));
    server.wait_for_counts("web", [3, 3, 3]).await;
    let watch = server.client("get workloads -w -o json");
    shows(&watch, [3, 3, 3]).await;
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
    shows(&watch, [3, 3, 3]).await;

    let _fourth = agent(&server, "web-4");
    let waited = wait.end().await.expect_exit(0);
    assert_eq!(waited.out, "workload default/web: 4 connected, 4 healthy, 4 total\n", "{waited}");
    shows(&watch, [4, 4, 4]).await;
    (server, agents)
}

#[tokio::test]
async fn all_come_back_to_a_server_that_was_killed() {
    let (_server, agents) = all_recover(Signal::KILL).await;
    for agent in &agents {
        agent.wait_for_stderr("session lost").await;
    }
}

#[tokio::test]
async fn a_server_that_is_told_to_end_asks_its_agents_to_come_back() {
    let (server, agents) = all_recover(Signal::TERM).await;
    for agent in agents {
        agent.wait_for_stderr("session drained").await;
        // They stayed away as long as they were asked to, and no loss came of it.
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
