//! The rules that a health check specifier must follow so that Envoy does not crash, accepts it, and
//! runs the intended checks. Each rule was observed with Envoy 1.40.

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

/// Asserts that a specifier can be sent to any Envoy.
#[track_caller]
pub fn assert_harmless(specifier: &HealthCheckSpecifier) {
    // 0 means "never" or "without a pause", and Envoy's timers do not keep up with a few milliseconds.
    assert!(millis(specifier.interval) >= 50, "reports: {specifier:?}");
    let mut names = BTreeSet::new();
    for cluster in &specifier.cluster_health_checks {
        // Envoy ignores a second cluster of a name, and recreates one with an empty name each time.
        assert!(names.insert(&cluster.cluster_name), "a name twice: {specifier:?}");
        // The prefix separates the statistics from those of the user's clusters.
        assert!(cluster.cluster_name.starts_with("headcount:"), "{cluster:?}");
        assert_cluster(cluster);
    }
}

#[track_caller]
fn assert_cluster(cluster: &ClusterHealthCheck) {
    // Two checks would write to one state, and the last one wins.
    let [check] = &cluster.health_checks[..] else { panic!("one check: {cluster:?}") };
    assert_check(check);
    let [locality] = &cluster.locality_endpoints[..] else { panic!("one locality: {cluster:?}") };
    // A locality without an endpoint crashes Envoy with SIGSEGV at the next report.
    let [endpoint] = &locality.endpoints[..] else { panic!("one endpoint: {cluster:?}") };
    assert_endpoint(endpoint);
}

/// An endpoint without an address, or with one that is not a literal, ends Envoy with `std::terminate`.
#[track_caller]
fn assert_endpoint(endpoint: &Endpoint) {
    let address = endpoint.address.as_ref().and_then(|address| address.socket_address.as_ref());
    let Some(address) = address else { panic!("an address: {endpoint:?}") };
    assert!(ip::is_literal(&address.address), "{endpoint:?}");
    // Envoy ends without a port too; it cannot connect to 0, and rejects more than 65,535.
    assert!((1..=65_535).contains(&address.port_value), "{endpoint:?}");
}

/// Envoy rejects a check with a missing field, visible only in its log.
#[track_caller]
fn assert_check(check: &HealthCheck) {
    assert!(millis(check.timeout) >= 1, "{check:?}");
    assert!(millis(check.interval) >= 50, "{check:?}");
    // Clusters of health discovery have no traffic, and the default interval without traffic is 60 s.
    assert_eq!(check.no_traffic_interval, check.interval);
    assert!(check.unhealthy_threshold >= Some(1) && check.healthy_threshold >= Some(1), "{check:?}");
    match check.health_checker.as_ref().expect("a health checker") {
        HealthChecker::TcpHealthCheck(_) => {}
        HealthChecker::HttpHealthCheck(http) => {
            let visible = |text: &str| text.chars().all(|c| matches!(c, '!'..='~'));
            assert!(http.path.starts_with('/') && visible(&http.path), "{http:?}");
            assert!(http.path.len() <= 1_024, "{http:?}");
            // The default is the cluster's name.
            assert!(!http.host.is_empty() && visible(&http.host), "{http:?}");
            // By default only 200 is healthy.
            let [range] = http.expected_statuses[..] else { panic!("one range: {http:?}") };
            assert_eq!((range.start, range.end), (200, 400));
        }
    }
}

/// The duration in whole milliseconds: Envoy ignores the rest.
#[track_caller]
fn millis(duration: Option<Duration>) -> i64 {
    let duration = duration.expect("a duration");
    assert!((0..1_000_000_000).contains(&duration.nanos), "{duration:?}");
    assert!((0..=3_600).contains(&duration.seconds), "{duration:?}");
    duration.seconds * 1_000 + i64::from(duration.nanos / 1_000_000)
}
