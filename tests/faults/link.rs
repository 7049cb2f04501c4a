//! Agents on a network that is gone without a word.

use tokio::process::Command;

use crate::{
    PROMISE, count,
    fleet::Numbers,
    namespace::Namespace,
    place::Served,
    support::{Counts, Program, Site, gateway, headcount},
    truth::Truth,
};

const AGENTS: u32 = 5;

/// One workload, and nobody else's.
fn numbers(counts: Counts) -> Numbers {
    Numbers::from([("far".to_owned(), counts)])
}

fn agent(namespace: &Namespace, site: &Site, server: &Served, number: u32) -> Program {
    let name = format!("far-{number}");
    let file = site.file(&format!("{name}.yaml"), &gateway("default", "far", &name));
    let words = format!("agent --server {} --dataplane-file {}", server.grpc, file.display());
    Program::start(&mut namespace.inside(&headcount(&words)))
}

/// Each time with new agents: those who are lost again and again stay away for
/// longer, on purpose.
fn times() -> usize {
    count("HEADCOUNT_FAULT_LINKS", 1)
}

async fn all_are_missed_and_return(lose: fn(&Namespace), find: fn(&Namespace)) {
    let Some(namespace) = Namespace::new() else { return };
    let same = |command: Command| command;
    let server = Served::start(Some((namespace.ours, 0).into()), same).await;
    let site = Site::new();
    let _agents: Vec<_> = (0..AGENTS).map(|number| agent(&namespace, &site, &server, number)).collect();
    let mut truth = Truth::of(server.grpc, server.http);
    truth.is("all are there", &numbers([AGENTS; 3]), PROMISE).await;
    lose(&namespace);
    truth.is("lost", &numbers([0, 0, AGENTS]), PROMISE).await;
    find(&namespace);
    truth.is("found", &numbers([AGENTS; 3]), PROMISE).await;
    assert_eq!(truth.shown().resets, 1, "our own watch was never cut");
}

#[tokio::test]
async fn behind_a_link_that_is_down() {
    for _ in 0..times() {
        all_are_missed_and_return(Namespace::drop_link, Namespace::restore_link).await;
    }
}

/// The server's packets arrive, and so does each PING; the answers do not.
#[tokio::test]
async fn behind_a_link_of_one_direction() {
    for _ in 0..times() {
        all_are_missed_and_return(Namespace::lose_their_packets, Namespace::find_their_packets).await;
    }
}
