//! Invalid health reports end the session, and change nothing else.

use headcount::proto::{HealthReport, HealthState, InboundHealth, session_request::Message as Request};
use tonic::Code;

use crate::{
    proxy::health,
    support::{Server, assert_status, dataplane, still_serves},
};

/// Sends `report` in the session of a healthy proxy whose last sequence is 5, and expects a rejection
/// with all these parts in its message.
async fn rejects(server: &Server, report: Request, parts: &[&str]) {
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.stream.send(health(5, HealthState::Ready));
    proxy.expect_ack(5).await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    proxy.stream.send(report);
    assert_status(&proxy.stream.end().await, Code::InvalidArgument, parts);
    server.wait_for_counts("web", (0, 0, 1)).await;
    still_serves(server).await;
}

#[tokio::test]
async fn the_sequence_must_increase() {
    let server = Server::start().await;
    for bad in [5, 4, 0] {
        let field = format!("health.sequence: {bad}: ");
        let parts = [field.as_str(), "must be greater than 5"];
        rejects(&server, health(bad, HealthState::NotReady), &parts).await;
    }
}

#[tokio::test]
async fn the_first_sequence_must_be_at_least_one() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.stream.send(health(0, HealthState::Ready));
    let parts = ["health.sequence: 0", "greater than 0"];
    assert_status(&proxy.stream.end().await, Code::InvalidArgument, &parts);
    server.wait_for_counts("web", (0, 0, 1)).await;
    still_serves(&server).await;
}

/// The largest sequence is accepted, and no sequence follows it.
#[tokio::test]
async fn the_sequence_does_not_wrap_around() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.stream.send(health(u64::MAX, HealthState::Ready));
    proxy.expect_ack(u64::MAX).await;
    proxy.stream.send(health(1, HealthState::NotReady));
    let parts = ["health.sequence: 1", "18446744073709551615"];
    assert_status(&proxy.stream.end().await, Code::InvalidArgument, &parts);
    still_serves(&server).await;
}

fn of_inbounds(inbounds: &[(u32, i32)]) -> Request {
    let inbound = |(port, state): &(u32, i32)| InboundHealth { port: *port, state: *state };
    Request::Health(HealthReport {
        sequence: 6,
        proxy: HealthState::Ready.into(),
        inbounds: inbounds.iter().map(inbound).collect(),
    })
}

#[tokio::test]
async fn a_report_may_name_only_declared_ports_and_each_once() {
    let server = Server::start().await;
    let undeclared = ["health.inbounds[1].port: 9090", "the hello declared no inbound"];
    rejects(&server, of_inbounds(&[(8080, 1), (9090, 1)]), &undeclared).await;
    let too_large = ["health.inbounds[0].port: 73616", "the hello declared no inbound"];
    rejects(&server, of_inbounds(&[(8080 + 65_536, 1)]), &too_large).await;
    let twice = ["health.inbounds[1].port: 8080", "twice in one report"];
    rejects(&server, of_inbounds(&[(8080, 1), (8080, 2)]), &twice).await;
}

#[tokio::test]
async fn an_unknown_state_is_rejected() {
    let server = Server::start().await;
    let parts = ["health.inbounds[0].state: 7", "unknown value", "use READY (1)"];
    rejects(&server, of_inbounds(&[(8080, 7)]), &parts).await;
    let report = Request::Health(HealthReport { sequence: 6, proxy: -1, inbounds: vec![] });
    let parts = ["health.proxy: -1", "unknown value", "use READY (1)"];
    rejects(&server, report, &parts).await;
}
