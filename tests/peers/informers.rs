//! kube-rs's informer follows Workloads through the Kubernetes API, also across restarts of the server.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::process::Command;

use crate::support::{Counts, Program, Server, Signal, gateway, peer};

/// Starts one informer that lists and then watches, and one that gets its initial list from the watch;
/// none if the program is missing.
pub(crate) fn informers(server: &Server) -> Option<[Program; 2]> {
    let program = peer("informer")?;
    Some(
        ["list", "stream"].map(|mode| {
            Program::start(Command::new(&program).arg(format!("http://{}", server.kube)).arg(mode))
        }),
    )
}

/// The informer's store, from the events that it has printed.
pub(crate) fn store(out: &str) -> BTreeMap<String, Counts> {
    let (mut known, mut new) = (BTreeMap::new(), BTreeMap::new());
    for line in out.lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { break }; // an incomplete line
        let name = event["name"].as_str().unwrap_or_default().to_owned();
        let counts: Counts = serde_json::from_value(event["counts"].clone()).unwrap_or_default();
        match event["event"].as_str().unwrap() {
            "init" => new.clear(),
            "init-apply" => drop(new.insert(name, counts)),
            "init-done" => known = std::mem::take(&mut new),
            "apply" => drop(known.insert(name, counts)),
            "delete" => assert!(known.remove(&name).is_some(), "{name} is not in the store:\n{out}"),
            other => panic!("{other}"),
        }
    }
    known
}

pub(crate) async fn wait_for_store(informers: &[Program], expected: &[(&str, Counts)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect();
    for informer in informers {
        informer
            .wait_for_stdout(&format!("{expected:?}"), |out| (store(out) == expected).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn informers_follow_creations_changes_and_deletions() {
    let server = Server::start("").await;
    let first = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let Some(informers) = informers(&server) else { return };
    wait_for_store(&informers, &[("web", [1, 1, 1])]).await;
    let api = server.agent("a1", &gateway("default", "api", "a1"));
    let _second = server.agent("w2", &gateway("default", "web", "w2"));
    wait_for_store(&informers, &[("api", [1, 1, 1]), ("web", [2, 2, 2])]).await;
    api.signal(Signal::TERM);
    first.signal(Signal::KILL);
    wait_for_store(&informers, &[("web", [1, 1, 2])]).await;
}

/// After a restart, the informers' resource version is of another server instance, and their last state
/// may no longer exist.
#[tokio::test]
async fn informers_recover_after_restarts_of_the_server() {
    let mut server = Server::start("").await;
    let _web = server.agent("w1", &gateway("default", "web", "w1"));
    let gone = server.agent("a1", &gateway("default", "api", "a1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    server.wait_for_counts("api", [1, 1, 1]).await;
    let Some(informers) = informers(&server) else { return };
    for signal in [Signal::KILL, Signal::TERM] {
        if signal == Signal::KILL {
            wait_for_store(&informers, &[("api", [1, 1, 1]), ("web", [1, 1, 1])]).await;
            // The dataplane disappears while no server runs.
            gone.signal(Signal::KILL);
        }
        server.restart(signal).await;
        server.wait_for_counts("web", [1, 1, 1]).await;
        wait_for_store(&informers, &[("web", [1, 1, 1])]).await;
    }
}
