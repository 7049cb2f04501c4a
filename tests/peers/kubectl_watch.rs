//! `kubectl get -w` and `kubectl wait` with real agents, also across a restart of the server.

use crate::support::{Kubectl, Program, Server, Signal, gateway};

/// Waits until a watch has printed this row: name, mesh, connected, healthy, total.
async fn wait_for_row(watch: &Program, row: [&str; 5]) {
    let matches = |line: &str| line.split_whitespace().take(5).eq(row);
    watch.wait_for_stdout(&format!("{row:?}"), |out| out.lines().any(matches).then_some(())).await;
}

#[tokio::test]
async fn a_watch_shows_every_change() {
    let server = Server::start("").await;
    let first = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let kubectls = Kubectl::all(&server).await;
    let watchers: Vec<_> = kubectls
        .iter()
        .flat_map(|kubectl| [kubectl.start("get workloads -w"), kubectl.start("get workload web -w")])
        .collect();
    for watch in &watchers {
        wait_for_row(watch, ["web", "default", "1", "1", "1"]).await;
    }
    server.wait_for_watchers(u32::try_from(watchers.len()).unwrap()).await;
    let second = server.agent("w2", &gateway("default", "web", "w2"));
    for watch in &watchers {
        wait_for_row(watch, ["web", "default", "2", "2", "2"]).await;
    }
    second.signal(Signal::KILL);
    for watch in &watchers {
        wait_for_row(watch, ["web", "default", "1", "1", "2"]).await;
    }
    drop(first);
}

#[tokio::test]
async fn a_wait_ends_when_its_condition_is_true() {
    let server = Server::start("").await;
    let _first = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let api = server.agent("a1", &gateway("default", "api", "a1"));
    server.wait_for_counts("api", [1, 1, 1]).await;
    let mut waiting = Vec::new();
    for kubectl in Kubectl::all(&server).await {
        // kubectl 1.20 has no such condition.
        if kubectl.minor >= 23 {
            let healthy = "{.status.dataplaneProxies.healthy}";
            let met =
                kubectl.run(&format!("wait --for=jsonpath={healthy}=1 workload/web --timeout=20s")).await;
            assert_eq!(met.expect_exit(0).out, "workload.kuma.io/web condition met\n");
            let never = kubectl
                .run(&format!("wait --for=jsonpath={healthy}=9 workload/web --timeout=100ms"))
                .await
                .expect_exit(1);
            assert!(never.err.contains("timed out waiting"), "{never}");
            waiting
                .push(kubectl.start(&format!("wait --for=jsonpath={healthy}=3 workload/web --timeout=30s")));
        }
        waiting.push(kubectl.start("wait --for=delete workload/api --timeout=30s"));
    }
    server.wait_for_watchers(u32::try_from(waiting.len()).unwrap()).await;
    api.signal(Signal::TERM);
    let _more = ["w2", "w3"].map(|name| server.agent(name, &gateway("default", "web", name)));
    for wait in waiting {
        wait.end().await.expect_exit(0);
    }
}

/// After the restart, kubectl's resource version is of another server instance; it recovers by itself.
#[tokio::test]
async fn a_wait_survives_a_restart_of_the_server() {
    let mut server = Server::start("").await;
    let _agents = ["w1", "w2"].map(|name| server.agent(name, &gateway("default", "web", name)));
    server.wait_for_counts("web", [2, 2, 2]).await;
    let condition = "jsonpath={.status.dataplaneProxies.healthy}=3";
    let waits: Vec<_> = Kubectl::all(&server)
        .await
        .iter()
        .filter(|kubectl| kubectl.minor >= 23)
        .map(|kubectl| kubectl.start(&format!("wait --for={condition} workload/web --timeout=60s")))
        .collect();
    server.wait_for_watchers(u32::try_from(waits.len()).unwrap()).await;
    server.restart(Signal::KILL).await;
    server.wait_for_counts("web", [2, 2, 2]).await;
    let _third = server.agent("w3", &gateway("default", "web", "w3"));
    for wait in waits {
        let ended = wait.end().await.expect_exit(0);
        assert_eq!(ended.out, "workload.kuma.io/web condition met\n");
    }
}
