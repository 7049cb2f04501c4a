//! Reports of one stream, and the health that follows from them.

use std::time::Duration;

use prost_types::{Struct, Value, value::Kind};

use super::*;
use crate::{
    envoy::checks::{Check, Checker, EndpointAddress, HttpPath},
    proto::envoy::{
        config::core::v3::Node,
        service::health::v3::{ClusterEndpointsHealth, HealthCheckRequest, LocalityEndpointsHealth},
    },
};
use HealthState::{NotReady, Ready, Unknown};
use HealthStatus::{Degraded, Draining, Healthy, Timeout, Unhealthy};

/// A stream with the default settings.
struct Stream {
    health: StreamHealth,
    sent_at: Instant,
}

impl Stream {
    fn new(ports: &[u16], checks_readiness: bool) -> Self {
        Self::with_stated(&ports.iter().map(|port| (*port, true)).collect::<Vec<_>>(), checks_readiness)
    }

    /// With inbounds of which some are stated to be not ready.
    fn with_stated(inbounds: &[(u16, bool)], checks_readiness: bool) -> Self {
        let endpoint = EndpointAddress { address: [127, 0, 0, 1].into(), port: 9000.try_into().unwrap() };
        let check = |(port, may_be_ready): &(u16, bool)| Check {
            target: Target::Inbound(*port),
            endpoint,
            checker: Checker::Http(HttpPath::default()),
            may_be_ready: *may_be_ready,
        };
        let checks = Checks::new(inbounds.iter().map(check), checks_readiness.then_some(endpoint));
        let sent_at = Instant::now();
        Self { health: StreamHealth::new(&checks, &CheckSettings::default(), sent_at), sent_at }
    }

    /// Processes a report `millis` after the specifier was sent. Returns the states of the proxy and of the
    /// first two inbounds if the health changed.
    fn report(&mut self, millis: u64, report: &Bytes) -> Option<(HealthState, [HealthState; 2])> {
        let now = self.sent_at + Duration::from_millis(millis);
        let health = self.health.report(report.clone(), now).unwrap()?;
        assert_eq!(self.health.health, health);
        Some((health.proxy, [0, 1].map(|index| health.inbound(index))))
    }
}

const WEB: &str = "headcount:inbound:8080";
const API: &str = "headcount:inbound:8081";
const READINESS: &str = "headcount:ready";

/// A report on clusters that have one endpoint each.
fn report<const N: usize>(clusters: [(&str, HealthStatus); N]) -> Bytes {
    message(clusters.map(|(name, status)| cluster(name, status, false)).into())
}

/// A report on one cluster whose HTTP check received a response.
fn with_response(name: &str, status: HealthStatus) -> Bytes {
    message(vec![cluster(name, status, true)])
}

fn cluster(name: &str, status: HealthStatus, has_response: bool) -> ClusterEndpointsHealth {
    let code = Value { kind: Some(Kind::NumberValue(503.0)) };
    let metadata = Struct { fields: [("http_status_code".to_owned(), code)].into() };
    let endpoint =
        EndpointHealth { health_status: status.into(), health_metadata: has_response.then_some(metadata) };
    ClusterEndpointsHealth {
        cluster_name: name.into(),
        locality_endpoints_health: vec![LocalityEndpointsHealth { endpoints_health: vec![endpoint] }],
    }
}

fn message(cluster_endpoints_health: Vec<ClusterEndpointsHealth>) -> Bytes {
    encoded(RequestType::EndpointHealthResponse(EndpointHealthResponse { cluster_endpoints_health }))
}

fn encoded(request_type: RequestType) -> Bytes {
    HealthCheckRequestOrEndpointHealthResponse { request_type: Some(request_type) }.encode_to_vec().into()
}

/// When all first checks have completed: the timeout of 1 s, and two report intervals.
const FIRST_CHECKS_END: u64 = 1_500;

#[test]
fn an_inbound_that_is_stated_to_be_not_ready_is_not_ready_whatever_the_check_finds() {
    let mut stream = Stream::with_stated(&[(8080, false), (8081, true)], false);
    let up = report([(API, Healthy), (WEB, Healthy)]);
    assert_eq!(stream.report(250, &up), Some((Ready, [NotReady, Ready])));
}

#[test]
fn a_cluster_has_the_state_of_its_inbound() {
    let mut stream = Stream::new(&[8080, 8081], false);
    let up = report([(API, Timeout), (WEB, Healthy)]);
    assert_eq!(stream.report(250, &up), Some((Ready, [Ready, NotReady])));
    assert_eq!(stream.report(500, &up), None);
    assert_eq!(stream.report(750, &report([(WEB, Healthy), (API, Timeout)])), None);
    let down = report([(WEB, Unhealthy), (API, Healthy)]);
    assert_eq!(stream.report(1_000, &down), Some((Ready, [NotReady, Ready])));
    assert_eq!(stream.report(1_250, &down), None);
    assert_eq!(stream.report(1_500, &up), Some((Ready, [Ready, NotReady])));
}

#[test]
fn the_readiness_check_decides_the_state_of_the_proxy() {
    let mut stream = Stream::new(&[8080], true);
    assert_eq!(stream.report(250, &report([(WEB, Healthy)])), Some((Unknown, [Ready, Unknown])));
    let both = |ready| report([(WEB, Healthy), (READINESS, ready)]);
    assert_eq!(stream.report(500, &both(Healthy)), Some((Ready, [Ready, Unknown])));
    assert_eq!(stream.report(750, &both(Unhealthy)), Some((NotReady, [Ready, Unknown])));
    assert_eq!(stream.report(FIRST_CHECKS_END, &both(Timeout)), None);
}

#[test]
fn an_envoy_without_checks_is_ready_from_its_first_report() {
    let mut stream = Stream::new(&[], false);
    assert_eq!(stream.health.health, Health::default());
    assert_eq!(stream.report(250, &Bytes::new()), Some((Ready, [Unknown; 2])));
    assert_eq!(stream.report(500, &Bytes::new()), None);
    assert_eq!(stream.report(FIRST_CHECKS_END, &Bytes::new()), None);
}

#[test]
fn unhealthy_counts_as_unknown_until_the_first_checks_end() {
    let mut stream = Stream::new(&[8080, 8081], true);
    let starting = report([(WEB, Unhealthy), (API, Unhealthy), (READINESS, Unhealthy)]);
    assert_eq!(stream.report(250, &starting), None);
    assert_eq!(stream.report(FIRST_CHECKS_END - 1, &starting), None);
    assert_eq!(stream.report(FIRST_CHECKS_END, &starting), Some((NotReady, [NotReady; 2])));
    assert_eq!(stream.report(FIRST_CHECKS_END + 1, &starting), None);
}

#[test]
fn a_status_of_a_completed_check_ends_the_first_check_of_its_inbound() {
    for completed in [report([(WEB, Healthy)]), report([(WEB, Timeout)]), with_response(WEB, Unhealthy)] {
        let mut stream = Stream::new(&[8080, 8081], false);
        stream.report(250, &completed);
        // From now on UNHEALTHY counts, for this inbound only.
        stream.report(500, &report([(WEB, Unhealthy), (API, Unhealthy)]));
        let health = stream.health.health;
        assert_eq!([0, 1].map(|index| health.inbound(index)), [NotReady, Unknown]);
    }
}

#[test]
fn an_http_response_with_a_failing_status_counts_at_once() {
    let mut stream = Stream::new(&[8080], false);
    assert_eq!(stream.report(250, &with_response(WEB, Unhealthy)), Some((Ready, [NotReady, Unknown])));
}

#[test]
fn an_inbound_that_is_not_reported_is_unknown() {
    let mut stream = Stream::new(&[8080, 8081], false);
    let all = report([(WEB, Healthy), (API, Healthy)]);
    let some = report([(API, Healthy)]);
    assert_eq!(stream.report(250, &all), Some((Ready, [Ready, Ready])));
    assert_eq!(stream.report(500, &some), Some((Ready, [Unknown, Ready])));
    assert_eq!(stream.report(750, &Bytes::new()), Some((Ready, [Unknown, Unknown])));
    let other = report([(WEB, HealthStatus::Unknown), (API, Draining)]);
    assert_eq!(stream.report(FIRST_CHECKS_END, &other), None);
    assert_eq!(stream.report(1_250, &report([(WEB, Degraded)])), None);
}

#[test]
fn clusters_that_were_not_requested_are_ignored() {
    let mut stream = Stream::new(&[8080], false);
    let others = [("backend", Unhealthy), ("headcount:inbound:9999", Timeout), (READINESS, Timeout)];
    assert_eq!(stream.report(250, &report(others)), Some((Ready, [Unknown; 2])));
}

#[test]
fn a_message_that_is_not_a_report_is_rejected_and_changes_nothing() {
    let mut stream = Stream::new(&[8080], false);
    stream.report(250, &report([(WEB, Healthy)]));
    let before = stream.health.health;
    let node = HealthCheckRequest { node: Some(Node::default()) };
    let again = encoded(RequestType::HealthCheckRequest(node));
    assert_eq!(stream.health.report(again, stream.sent_at), Err(BadReport::SecondRequest));
    let invalid = stream.health.report(Bytes::from_static(b"\xff"), stream.sent_at).unwrap_err();
    assert!(invalid.to_string().starts_with("message: failed to decode Protobuf message"), "{invalid}");
    assert_eq!(stream.health.health, before);
}
