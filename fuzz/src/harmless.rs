//! What a specifier has to be so that an Envoy lives, takes it, and does what
//! was meant. Each rule is one that Envoy 1.40 was seen to follow.

use std::collections::BTreeSet;

use headcount::proto::envoy::{
    config::{
        core::v3::{HealthCheck, health_check::HealthChecker},
        endpoint::v3::Endpoint,
    },
    service::health::v3::{ClusterHealthCheck, HealthCheckSpecifier},
};
use prost_types::Duration;

use super::ip;

/// A specifier that can be sent to any Envoy.
#[track_caller]
pub fn assert_harmless(specifier: &HealthCheckSpecifier) {
    // 0 is "never" or "without pause", and an Envoy can't do less than some milliseconds.
    assert!(millis(specifier.interval) >= 50, "reports: {specifier:?}");
    let mut names = BTreeSet::new();
    for cluster in &specifier.cluster_health_checks {
        // The second one of a name is ignored; an empty one is made anew each time.
        assert!(names.insert(&cluster.cluster_name), "a name twice: {specifier:?}");
        // The statistics of others are not mixed up with these.
        assert!(cluster.cluster_name.starts_with("headcount:"), "{cluster:?}");
        assert_cluster(cluster);
    }
}

#[track_caller]
fn assert_cluster(cluster: &ClusterHealthCheck) {
    // Two checks write to one state, and the last one wins.
    let [check] = &cluster.health_checks[..] else { panic!("one check: {cluster:?}") };
    assert_check(check);
    let [locality] = &cluster.locality_endpoints[..] else { panic!("one locality: {cluster:?}") };
    // A locality without one: SIGSEGV at the next report.
    let [endpoint] = &locality.endpoints[..] else { panic!("one endpoint: {cluster:?}") };
    assert_endpoint(endpoint);
}

/// An endpoint with no address, or one that is no literal: `std::terminate`.
#[track_caller]
fn assert_endpoint(endpoint: &Endpoint) {
    let address = endpoint.address.as_ref().and_then(|address| address.socket_address.as_ref());
    let Some(address) = address else { panic!("an address: {endpoint:?}") };
    assert!(ip::is_literal(&address.address), "{endpoint:?}");
    // Without one it ends as well; 0 can't be connected to; more is refused.
    assert!((1..=65_535).contains(&address.port_value), "{endpoint:?}");
}

/// Refused in a line of the Envoy's log, unless all of it is there.
#[track_caller]
fn assert_check(check: &HealthCheck) {
    assert!(millis(check.timeout) >= 1, "{check:?}");
    assert!(millis(check.interval) >= 50, "{check:?}");
    // What an Envoy checks for others has no traffic: left out, it is 60 s.
    assert_eq!(check.no_traffic_interval, check.interval);
    assert!(check.unhealthy_threshold >= Some(1) && check.healthy_threshold >= Some(1), "{check:?}");
    match check.health_checker.as_ref().expect("a way to check") {
        HealthChecker::TcpHealthCheck(_) => {}
        HealthChecker::HttpHealthCheck(http) => {
            let visible = |text: &str| text.chars().all(|c| matches!(c, '!'..='~'));
            assert!(http.path.starts_with('/') && visible(&http.path), "{http:?}");
            assert!(http.path.len() <= 1_024, "{http:?}");
            // Left out, it is the cluster's name.
            assert!(!http.host.is_empty() && visible(&http.host), "{http:?}");
            // Left out, only 200 passes.
            let [range] = http.expected_statuses[..] else { panic!("one range: {http:?}") };
            assert_eq!((range.start, range.end), (200, 400));
        }
    }
}

/// In whole milliseconds, which are all that an Envoy sees.
#[track_caller]
fn millis(length: Option<Duration>) -> i64 {
    let length = length.expect("a length of time");
    assert!((0..1_000_000_000).contains(&length.nanos), "{length:?}");
    assert!((0..=3_600).contains(&length.seconds), "{length:?}");
    length.seconds * 1_000 + i64::from(length.nanos / 1_000_000)
}
