//! Agents whose network link is down, or loses packets in one direction.

use std::time::Duration;

use tokio::{process::Command, time::sleep};

use crate::{
    BOUND, count,
    custom_server::CustomServer,
    fleet::CountsByWorkload,
    network_namespace::NetworkNamespace,
    support::{Counts, Program, Site, gateway, headcount},
    verifier::Verifier,
};

const AGENTS: u32 = 5;
/// Agents that return together from an outage.
const CROWD: u32 = 20;

/// Counts of the only workload.
fn expected(counts: Counts) -> CountsByWorkload {
    CountsByWorkload::from([("far".to_owned(), counts)])
}

fn agent(namespace: &NetworkNamespace, site: &Site, server: &CustomServer, number: u32) -> Program {
    let name = format!("far-{number}");
    let file = site.file(&format!("{name}.yaml"), &gateway("default", "far", &name));
    let arguments = format!("agent --server {} --dataplane-file {}", server.grpc, file.display());
    Program::start(&mut namespace.wrap(&headcount(&arguments)))
}

/// Number of repetitions. Each uses new agents, because the backoff of an agent grows with each loss.
fn repetitions() -> usize {
    count("HEADCOUNT_FAULT_LINKS", 1)
}

/// How long the outages last, in seconds.
fn outages() -> Vec<Duration> {
    let seconds = std::env::var("HEADCOUNT_FAULT_OUTAGES").unwrap_or_else(|_| "3,20".to_owned());
    seconds.split(',').map(|one| Duration::from_secs(one.parse().expect("seconds"))).collect()
}

async fn agents_are_lost_and_return(break_link: fn(&NetworkNamespace), restore_link: fn(&NetworkNamespace)) {
    let Some(namespace) = NetworkNamespace::new() else { return };
    let unchanged = |command: Command| command;
    let server = CustomServer::start(Some((namespace.outside, 0).into()), unchanged).await;
    let site = Site::new();
    let _agents: Vec<_> = (0..AGENTS).map(|number| agent(&namespace, &site, &server, number)).collect();
    let mut verifier = Verifier::new(server.grpc, server.http);
    verifier.expect("all are connected", &expected([AGENTS; 3]), BOUND).await;
    break_link(&namespace);
    verifier.expect("link broken", &expected([0, 0, AGENTS]), BOUND).await;
    restore_link(&namespace);
    verifier.expect("link restored", &expected([AGENTS; 3]), BOUND).await;
    assert_eq!(verifier.observed().resets, 1, "the verifier's watch was never interrupted");
}

#[tokio::test]
async fn agents_behind_a_link_that_is_down_are_lost_and_return() {
    for _ in 0..repetitions() {
        agents_are_lost_and_return(NetworkNamespace::drop_link, NetworkNamespace::restore_link).await;
    }
}

/// The backoff of the agents grows with the length of an outage, up to its ceiling.
#[tokio::test]
async fn agents_return_within_ten_seconds_of_an_outage_of_any_length() {
    let Some(namespace) = NetworkNamespace::new() else { return };
    let unchanged = |command: Command| command;
    let server = CustomServer::start(Some((namespace.outside, 0).into()), unchanged).await;
    let site = Site::new();
    let _agents: Vec<_> = (0..CROWD).map(|number| agent(&namespace, &site, &server, number)).collect();
    let mut verifier = Verifier::new(server.grpc, server.http);
    verifier.expect("all are connected", &expected([CROWD; 3]), BOUND).await;
    for outage in outages() {
        namespace.drop_link();
        // The fault itself lasts this long.
        sleep(outage).await;
        namespace.restore_link();
        verifier.expect(&format!("{outage:?} of outage"), &expected([CROWD; 3]), BOUND).await;
    }
}

/// Packets and PINGs of the server arrive; those of the agents are lost.
#[tokio::test]
async fn agents_behind_a_link_that_loses_their_packets_are_lost_and_return() {
    for _ in 0..repetitions() {
        agents_are_lost_and_return(NetworkNamespace::blackhole_outbound, NetworkNamespace::remove_blackhole)
            .await;
    }
}
