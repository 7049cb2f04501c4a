use std::time::Duration;

use prost_types::{Struct, Value, value::Kind};

use super::*;
use crate::{
    envoy::checks::{Check, HttpPath, Place, Probe},
    proto::envoy::{
        config::core::v3::Node,
        service::health::v3::{ClusterEndpointsHealth, HealthCheckRequest, LocalityEndpointsHealth},
    },
};
use HealthState::{NotReady, Ready, Unknown};
use HealthStatus::{Degraded, Draining, Healthy, Timeout, Unhealthy};

/// With the default settings, two ports, and perhaps a question to the Envoy itself.
struct Stream {
    fold: Fold,
    sent_at: Instant,
}

impl Stream {
    fn of(ports: &[u16], asks_itself: bool) -> Self {
        let at = Place { address: [127, 0, 0, 1].into(), port: 9000.try_into().unwrap() };
        let check = |port: &u16| Check {
            target: Target::Inbound(*port),
            at,
            probe: Probe::Http(HttpPath::default()),
        };
        let checks = Checks::new(ports.iter().map(check), asks_itself.then_some(at));
        let sent_at = Instant::now();
        Self { fold: Fold::new(&checks, &CheckSettings::default(), sent_at), sent_at }
    }

    /// Takes a report so many milliseconds after the specifier, and returns the
    /// change: of the proxy, and of the first two inbounds.
    fn takes(&mut self, millis: u64, report: &Bytes) -> Option<(HealthState, [HealthState; 2])> {
        let now = self.sent_at + Duration::from_millis(millis);
        let health = self.fold.report(report.clone(), now).unwrap()?;
        assert_eq!(self.fold.health, health);
        Some((health.proxy, [0, 1].map(|at| health.inbound(at))))
    }
}

const WEB: &str = "headcount:inbound:8080";
const API: &str = "headcount:inbound:8081";
const ENVOY: &str = "headcount:ready";

/// A report on clusters of one endpoint.
fn report<const N: usize>(clusters: [(&str, HealthStatus); N]) -> Bytes {
    message(clusters.map(|(name, status)| cluster(name, status, false)).into())
}

/// A report on one that was answered by HTTP.
fn answered(name: &str, status: HealthStatus) -> Bytes {
    message(vec![cluster(name, status, true)])
}

fn cluster(name: &str, status: HealthStatus, is_answered: bool) -> ClusterEndpointsHealth {
    let code = Value { kind: Some(Kind::NumberValue(503.0)) };
    let metadata = Struct { fields: [("http_status_code".to_owned(), code)].into() };
    let endpoint =
        EndpointHealth { health_status: status.into(), health_metadata: is_answered.then_some(metadata) };
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

/// When all first checks have ended: 500 ms for an answer, and two reports.
const OVER: u64 = 1_000;

#[test]
fn each_cluster_speaks_for_its_inbound() {
    let mut stream = Stream::of(&[8080, 8081], false);
    let up = report([(API, Timeout), (WEB, Healthy)]);
    assert_eq!(stream.takes(250, &up), Some((Ready, [Ready, NotReady])));
    assert_eq!(stream.takes(500, &up), None);
    assert_eq!(stream.takes(750, &report([(WEB, Healthy), (API, Timeout)])), None);
    let down = report([(WEB, Unhealthy), (API, Healthy)]);
    assert_eq!(stream.takes(1_000, &down), Some((Ready, [NotReady, Ready])));
    assert_eq!(stream.takes(1_250, &down), None);
    assert_eq!(stream.takes(1_500, &up), Some((Ready, [Ready, NotReady])));
}

#[test]
fn an_envoy_that_is_asked_speaks_for_itself() {
    let mut stream = Stream::of(&[8080], true);
    assert_eq!(stream.takes(250, &report([(WEB, Healthy)])), Some((Unknown, [Ready, Unknown])));
    let both = |ready| report([(WEB, Healthy), (ENVOY, ready)]);
    assert_eq!(stream.takes(500, &both(Healthy)), Some((Ready, [Ready, Unknown])));
    assert_eq!(stream.takes(750, &both(Unhealthy)), Some((NotReady, [Ready, Unknown])));
    assert_eq!(stream.takes(OVER, &both(Timeout)), None);
}

#[test]
fn an_envoy_with_nothing_to_check_is_ready_by_its_first_word() {
    let mut stream = Stream::of(&[], false);
    assert_eq!(stream.fold.health, Health::default());
    assert_eq!(stream.takes(250, &Bytes::new()), Some((Ready, [Unknown; 2])));
    assert_eq!(stream.takes(500, &Bytes::new()), None);
    assert_eq!(stream.takes(OVER, &Bytes::new()), None);
}

#[test]
fn before_the_first_check_has_ended_nobody_knows() {
    let mut stream = Stream::of(&[8080, 8081], true);
    let starting = report([(WEB, Unhealthy), (API, Unhealthy), (ENVOY, Unhealthy)]);
    assert_eq!(stream.takes(250, &starting), None);
    assert_eq!(stream.takes(OVER - 1, &starting), None);
    assert_eq!(stream.takes(OVER, &starting), Some((NotReady, [NotReady; 2])));
    assert_eq!(stream.takes(OVER + 1, &starting), None);
}

#[test]
fn a_first_check_shows_that_it_has_ended() {
    for ended in [report([(WEB, Healthy)]), report([(WEB, Timeout)]), answered(WEB, Unhealthy)] {
        let mut stream = Stream::of(&[8080, 8081], false);
        stream.takes(250, &ended);
        // From then on a bare UNHEALTHY is one, of this inbound only.
        stream.takes(500, &report([(WEB, Unhealthy), (API, Unhealthy)]));
        let health = stream.fold.health;
        assert_eq!([0, 1].map(|at| health.inbound(at)), [NotReady, Unknown]);
    }
}

#[test]
fn a_wrong_answer_is_known_at_once() {
    let mut stream = Stream::of(&[8080], false);
    assert_eq!(stream.takes(250, &answered(WEB, Unhealthy)), Some((Ready, [NotReady, Unknown])));
}

#[test]
fn what_nothing_is_said_of_is_unknown() {
    let mut stream = Stream::of(&[8080, 8081], false);
    let all = report([(WEB, Healthy), (API, Healthy)]);
    let some = report([(API, Healthy)]);
    assert_eq!(stream.takes(250, &all), Some((Ready, [Ready, Ready])));
    assert_eq!(stream.takes(500, &some), Some((Ready, [Unknown, Ready])));
    assert_eq!(stream.takes(750, &Bytes::new()), Some((Ready, [Unknown, Unknown])));
    let strange = report([(WEB, HealthStatus::Unknown), (API, Draining)]);
    assert_eq!(stream.takes(OVER, &strange), None);
    assert_eq!(stream.takes(1_250, &report([(WEB, Degraded)])), None);
}

#[test]
fn clusters_of_others_say_nothing() {
    let mut stream = Stream::of(&[8080], false);
    let others = [("backend", Unhealthy), ("headcount:inbound:9999", Timeout), (ENVOY, Timeout)];
    assert_eq!(stream.takes(250, &report(others)), Some((Ready, [Unknown; 2])));
}

#[test]
fn what_is_no_report_ends_the_stream_and_changes_nothing() {
    let mut stream = Stream::of(&[8080], false);
    stream.takes(250, &report([(WEB, Healthy)]));
    let before = stream.fold.health;
    let node = HealthCheckRequest { node: Some(Node::default()) };
    let again = encoded(RequestType::HealthCheckRequest(node));
    assert_eq!(stream.fold.report(again, stream.sent_at), Err(BadReport::NodeAgain));
    let broken = stream.fold.report(Bytes::from_static(b"\xff"), stream.sent_at).unwrap_err();
    assert!(broken.to_string().starts_with("message: failed to decode Protobuf message"), "{broken}");
    assert_eq!(stream.fold.health, before);
}
