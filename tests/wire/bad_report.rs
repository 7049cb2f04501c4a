//! Reports that state something wrong end the session, and change nothing.

use headcount::proto::{HealthReport, HealthState, InboundHealth, session_request::Message as Said};
use tonic::Code;

use crate::{
    proxy::health,
    support::{Server, assert_says, dataplane, still_serves},
};

/// After good reports up to 5, a healthy proxy says this, and is refused.
async fn refused(server: &Server, report: Said, words: &[&str]) {
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.line.say(health(5, HealthState::Ready));
    proxy.acked(5).await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    proxy.line.say(report);
    assert_says(&proxy.line.end().await, Code::InvalidArgument, words);
    server.until_counts("web", (0, 0, 1)).await;
    still_serves(server).await;
}

#[tokio::test]
async fn the_sequence_must_grow() {
    let server = Server::start().await;
    for bad in [5, 4, 0] {
        let place = format!("health.sequence: {bad}: ");
        let words = [place.as_str(), "must be greater than 5"];
        refused(&server, health(bad, HealthState::NotReady), &words).await;
    }
}

#[tokio::test]
async fn the_first_sequence_is_one_or_more() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.line.say(health(0, HealthState::Ready));
    let words = ["health.sequence: 0", "greater than 0"];
    assert_says(&proxy.line.end().await, Code::InvalidArgument, &words);
    server.until_counts("web", (0, 0, 1)).await;
    still_serves(&server).await;
}

/// The largest sequence is fine; there is none after it.
#[tokio::test]
async fn the_sequence_does_not_wrap() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.line.say(health(u64::MAX, HealthState::Ready));
    proxy.acked(u64::MAX).await;
    proxy.line.say(health(1, HealthState::NotReady));
    let words = ["health.sequence: 1", "18446744073709551615"];
    assert_says(&proxy.line.end().await, Code::InvalidArgument, &words);
    still_serves(&server).await;
}

fn of_inbounds(inbounds: &[(u32, i32)]) -> Said {
    let stated = |(port, state): &(u32, i32)| InboundHealth {
        port: *port,
        state: *state,
    };
    Said::Health(HealthReport {
        sequence: 6,
        proxy: HealthState::Ready.into(),
        inbounds: inbounds.iter().map(stated).collect(),
    })
}

#[tokio::test]
async fn only_declared_ports_are_reported_each_once() {
    let server = Server::start().await;
    let strange = ["health.inbounds[1].port: 9090", "the hello declared no inbound"];
    refused(&server, of_inbounds(&[(8080, 1), (9090, 1)]), &strange).await;
    let beyond = ["health.inbounds[0].port: 73616", "the hello declared no inbound"];
    refused(&server, of_inbounds(&[(8080 + 65_536, 1)]), &beyond).await;
    let twice = ["health.inbounds[1].port: 8080", "twice in one report"];
    refused(&server, of_inbounds(&[(8080, 1), (8080, 2)]), &twice).await;
}

#[tokio::test]
async fn an_unknown_state_is_refused() {
    let server = Server::start().await;
    let words = ["health.inbounds[0].state: 7", "unknown value", "use READY (1)"];
    refused(&server, of_inbounds(&[(8080, 7)]), &words).await;
    let report = Said::Health(HealthReport {
        sequence: 6,
        proxy: -1,
        inbounds: vec![],
    });
    let words = ["health.proxy: -1", "unknown value", "use READY (1)"];
    refused(&server, report, &words).await;
}
