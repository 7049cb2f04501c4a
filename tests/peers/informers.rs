//! An informer that is none of ours (kube-rs's) follows the same history, also over
//! the end of a server.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::process::Command;

use crate::support::{Counts, Program, Server, Signal, gateway, peer};

/// One that lists and then watches, and one that is told all by its watch; none if
/// the program is missing.
fn informers(server: &Server) -> Option<[Program; 2]> {
    let program = peer("informer")?;
    Some(
        ["list", "stream"].map(|way| {
            Program::start(Command::new(&program).arg(format!("http://{}", server.kube)).arg(way))
        }),
    )
}

/// What an informer knows by what it was told.
fn known(out: &str) -> BTreeMap<String, Counts> {
    let (mut known, mut new) = (BTreeMap::new(), BTreeMap::new());
    for line in out.lines() {
        let Ok(told) = serde_json::from_str::<Value>(line) else { break }; // half a line
        let name = told["name"].as_str().unwrap_or_default().to_owned();
        let counts: Counts = serde_json::from_value(told["counts"].clone()).unwrap_or_default();
        match told["event"].as_str().unwrap() {
            "init" => new.clear(),
            "init-apply" => drop(new.insert(name, counts)),
            "init-done" => known = std::mem::take(&mut new),
            "apply" => drop(known.insert(name, counts)),
            "delete" => assert!(known.remove(&name).is_some(), "{name} was not known:\n{out}"),
            other => panic!("{other}"),
        }
    }
    known
}

async fn all_know(informers: &[Program], expected: &[(&str, Counts)]) {
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(name, counts)| ((*name).to_owned(), *counts)).collect();
    for informer in informers {
        informer
            .wait_for_stdout(&format!("{expected:?}"), |out| (known(out) == expected).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn informers_know_what_there_is_whatever_happens() {
    let server = Server::start("").await;
    let first = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let Some(informers) = informers(&server) else { return };
    all_know(&informers, &[("web", [1, 1, 1])]).await;
    let api = server.agent("a1", &gateway("default", "api", "a1"));
    let _second = server.agent("w2", &gateway("default", "web", "w2"));
    all_know(&informers, &[("api", [1, 1, 1]), ("web", [2, 2, 2])]).await;
    api.signal(Signal::TERM);
    first.signal(Signal::KILL);
    all_know(&informers, &[("web", [1, 1, 2])]).await;
}

/// What they know is of another life of the server, in which what they saw last may
/// not even exist.
#[tokio::test]
async fn informers_find_their_way_into_another_life_of_the_server() {
    let mut server = Server::start("").await;
    let _web = server.agent("w1", &gateway("default", "web", "w1"));
    let gone = server.agent("a1", &gateway("default", "api", "a1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    server.wait_for_counts("api", [1, 1, 1]).await;
    let Some(informers) = informers(&server) else { return };
    for signal in [Signal::KILL, Signal::TERM] {
        if signal == Signal::KILL {
            all_know(&informers, &[("api", [1, 1, 1]), ("web", [1, 1, 1])]).await;
            // It goes while nobody can hear it.
            gone.signal(Signal::KILL);
        }
        server.restart(signal).await;
        server.wait_for_counts("web", [1, 1, 1]).await;
        all_know(&informers, &[("web", [1, 1, 1])]).await;
    }
}
