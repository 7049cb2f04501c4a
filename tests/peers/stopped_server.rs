//! A server that is stopped: its kernel keeps the connections, and nothing is sent on them.

use std::time::{Duration, Instant};

use crate::support::{Server, Signal, gateway};

/// The documented time within which a failure is detected.
const DETECTED_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_client_detects_a_stopped_server_within_ten_seconds_and_recovers() {
    let server = Server::start("").await;
    let agent = server.agent("web-1", &gateway("default", "web", "web-1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let interrupted = "watch interrupted (the server sent nothing within 8s); reconnecting\n";
    let clients = [
        (server.client("get workloads -w"), interrupted),
        (server.client("get events -w"), interrupted),
        (server.client("wait workload web --healthy 2 --timeout 5m"), "connection lost"),
        (agent, "session lost"),
    ];
    server.wait_for_watchers(3).await;
    server.program.signal(Signal::STOP);
    let stopped_at = Instant::now();
    for (client, detected) in &clients {
        client.wait_for_stderr(detected).await;
        let after = stopped_at.elapsed();
        println!("{detected:?} within {after:?}");
        assert!(after < DETECTED_WITHIN, "{detected:?} after {after:?}");
    }

    server.program.signal(Signal::CONT);
    let [(workloads, _), (events, _), (wait, _), (agent, _)] = clients;
    for watch in [workloads, events] {
        watch.wait_for_stderr("reconnected").await;
    }
    let _second = server.agent("web-2", &gateway("default", "web", "web-2"));
    wait.end().await.expect_exit(0);
    server.wait_for_counts("web", [2, 2, 2]).await;
    agent.signal(Signal::TERM);
    agent.end().await.expect_exit(0);
}
