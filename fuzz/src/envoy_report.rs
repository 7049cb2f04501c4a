//! The health that is computed from an Envoy's reports, which skips the decoding of repeated ones, equals
//! the health that a reference implementation gets by decoding each report in full.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use headcount::{
    envoy::{
        checks::{CheckSettings, Checks},
        node::Proxy,
        stream_health::{BadReport, StreamHealth},
    },
    model::{DataplaneLimits, Health, HealthState},
    proto::envoy::{
        config::core::v3::{HealthStatus, Node},
        service::health::v3::{
            EndpointHealth, EndpointHealthResponse, HealthCheckRequestOrEndpointHealthResponse,
            health_check_request_or_endpoint_health_response::RequestType,
        },
    },
};
use prost::{DecodeError, Message as _};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tokio::time::Instant;

use super::rules;

const FIRST_PORT: usize = 8_000;

/// Input: a byte for the number of inbounds and whether the admin interface is checked; then for each
/// report a byte for the time since the last one in hundredths of a second, a byte for its length, and
/// the encoded report. A length of 255 repeats the last report.
pub fn check(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    let (inbounds, checks_admin) = (usize::from(first % 65), *first >= 128);
    let settings = CheckSettings::default();
    let start = Instant::now();
    let mut stream = StreamHealth::new(&checks(inbounds, checks_admin), &settings, start);
    let mut reference =
        Reference { inbounds, checks_admin, checked: BTreeSet::new(), health: Health::default() };
    let mut passed = Duration::ZERO;
    let mut report = Bytes::new();
    while let [hundredths, length, others @ ..] = rest {
        passed += Duration::from_millis(10 * u64::from(*hundredths));
        rest = others;
        if *length < 255 {
            let (bytes, others) = rest.split_at(rest.len().min(usize::from(*length)));
            report = Bytes::copy_from_slice(bytes);
            rest = others;
        }
        let before = reference.health;
        let first_checks_over = passed >= settings.check_timeout.get() + 2 * settings.report_interval.get();
        let accepted = stream.report(report.clone(), start + passed);
        let Some(health) = reference.report(&report, first_checks_over) else {
            let rejected = accepted.expect_err("not a report");
            assert!(rules::is_short_text(&rejected.to_string(), 4_096), "{rejected}");
            let is_node = matches!(decode(&report), Ok(Some(RequestType::HealthCheckRequest(_))));
            assert_eq!(rejected == BadReport::SecondRequest, is_node, "{rejected}");
            return;
        };
        let change = (health != before).then_some(health);
        assert_eq!(accepted, Ok(change), "{report:?} after {passed:?}");
    }
}

/// The checks that follow from the node of an Envoy with this many inbounds.
fn checks(inbounds: usize, checks_admin: bool) -> Checks {
    let value = |kind| Value { kind: Some(kind) };
    let entries = |key: &str, kind| Struct { fields: [(key.to_owned(), value(kind))].into() };
    #[expect(clippy::cast_precision_loss, reason = "a port is small")]
    let port = |port: usize| Kind::StructValue(entries("port", Kind::NumberValue(port as f64)));
    let inbounds = (FIRST_PORT..FIRST_PORT + inbounds).map(|number| value(port(number)));
    let mut metadata = entries("inbounds", Kind::ListValue(ListValue { values: inbounds.collect() }));
    metadata.fields.extend(checks_admin.then(|| ("admin".to_owned(), value(port(9_901)))));
    let node = Node { id: "mesh.name".into(), metadata: Some(metadata), ..Node::default() };
    Proxy::parse(&node, DataplaneLimits::default()).expect("a valid node").checks
}

fn decode(report: &[u8]) -> Result<Option<RequestType>, DecodeError> {
    Ok(HealthCheckRequestOrEndpointHealthResponse::decode(report)?.request_type)
}

/// The reference implementation: decodes every report.
struct Reference {
    inbounds: usize,
    checks_admin: bool,
    /// Clusters whose first check has ended.
    checked: BTreeSet<String>,
    health: Health,
}

impl Reference {
    fn report(&mut self, report: &[u8], first_checks_over: bool) -> Option<Health> {
        let report = match decode(report).ok()? {
            None => EndpointHealthResponse::default(),
            Some(RequestType::EndpointHealthResponse(report)) => report,
            Some(RequestType::HealthCheckRequest(_)) => return None,
        };
        let proxy = if self.checks_admin {
            self.state("headcount:ready", &report, first_checks_over)
        } else {
            HealthState::Ready
        };
        let mut health = Health::of_proxy(proxy);
        for index in 0..self.inbounds {
            let cluster = format!("headcount:inbound:{}", FIRST_PORT + index);
            health.set_inbound(index, self.state(&cluster, &report, first_checks_over));
        }
        self.health = health;
        Some(health)
    }

    /// The last state that the report has for a cluster.
    fn state(
        &mut self,
        cluster: &str,
        report: &EndpointHealthResponse,
        first_checks_over: bool,
    ) -> HealthState {
        let clusters = report.cluster_endpoints_health.iter().filter(|health| health.cluster_name == cluster);
        let localities = clusters.flat_map(|cluster| &cluster.locality_endpoints_health);
        let endpoints = localities.flat_map(|locality| &locality.endpoints_health);
        endpoints
            .fold(HealthState::Unknown, |_, endpoint| self.state_of(cluster, endpoint, first_checks_over))
    }

    fn state_of(&mut self, cluster: &str, endpoint: &EndpointHealth, first_checks_over: bool) -> HealthState {
        let metadata = endpoint.health_metadata.iter().flat_map(|metadata| metadata.fields.keys());
        let has_code = metadata.into_iter().any(|key| key == "http_status_code");
        let status = HealthStatus::try_from(endpoint.health_status).unwrap_or_default();
        if has_code || [HealthStatus::Healthy, HealthStatus::Timeout].contains(&status) {
            self.checked.insert(cluster.to_owned());
        }
        match status {
            HealthStatus::Healthy => HealthState::Ready,
            HealthStatus::Timeout => HealthState::NotReady,
            HealthStatus::Unhealthy if first_checks_over || self.checked.contains(cluster) => {
                HealthState::NotReady
            }
            _ => HealthState::Unknown,
        }
    }
}
