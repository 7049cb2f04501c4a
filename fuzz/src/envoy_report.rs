//! Reports of an Envoy add up to what a reading of each of them from the
//! beginning says, whatever was spared.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use headcount::{
    envoy::{
        checks::{CheckSettings, Checks},
        fold::{BadReport, Fold},
        node::Proxy,
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

/// Takes a byte that says how many inbounds there are and whether the Envoy is
/// asked itself, then for each report: a byte, how many hundredths of a second
/// have passed; a byte, its length; and its bytes as they are on the wire. A
/// length of 255 says that the last one is repeated.
pub fn check(input: &[u8]) {
    let Some((first, mut rest)) = input.split_first() else { return };
    let (inbounds, asks_itself) = (usize::from(first % 65), *first >= 128);
    let settings = CheckSettings::default();
    let start = Instant::now();
    let mut fold = Fold::new(&checks(inbounds, asks_itself), &settings, start);
    let mut naive = Naive { inbounds, asks_itself, checked: BTreeSet::new(), health: Health::default() };
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
        let before = naive.health;
        let over = passed >= settings.check_timeout.get() + 2 * settings.report_interval.get();
        let taken = fold.report(report.clone(), start + passed);
        let Some(health) = naive.report(&report, over) else {
            let refused = taken.expect_err("it is no report");
            assert!(rules::is_short_text(&refused.to_string(), 4_096), "{refused}");
            let is_node = matches!(decode(&report), Ok(Some(RequestType::HealthCheckRequest(_))));
            assert_eq!(refused == BadReport::NodeAgain, is_node, "{refused}");
            return;
        };
        let change = (health != before).then_some(health);
        assert_eq!(taken, Ok(change), "{report:?} after {passed:?}");
    }
}

/// As they come from the node of an Envoy with so many inbounds.
fn checks(inbounds: usize, asks_itself: bool) -> Checks {
    let value = |kind| Value { kind: Some(kind) };
    let entries = |key: &str, kind| Struct { fields: [(key.to_owned(), value(kind))].into() };
    #[expect(clippy::cast_precision_loss, reason = "a port is small")]
    let port = |port: usize| Kind::StructValue(entries("port", Kind::NumberValue(port as f64)));
    let inbounds = (FIRST_PORT..FIRST_PORT + inbounds).map(|number| value(port(number)));
    let mut metadata = entries("inbounds", Kind::ListValue(ListValue { values: inbounds.collect() }));
    metadata.fields.extend(asks_itself.then(|| ("admin".to_owned(), value(port(9_901)))));
    let node = Node { id: "mesh.name".into(), metadata: Some(metadata), ..Node::default() };
    Proxy::parse(&node, DataplaneLimits::default()).expect("it is lawful").checks
}

fn decode(report: &[u8]) -> Result<Option<RequestType>, DecodeError> {
    Ok(HealthCheckRequestOrEndpointHealthResponse::decode(report)?.request_type)
}

/// Reads every report.
struct Naive {
    inbounds: usize,
    asks_itself: bool,
    /// Names of clusters whose first check has ended.
    checked: BTreeSet<String>,
    health: Health,
}

impl Naive {
    fn report(&mut self, report: &[u8], first_checks_are_over: bool) -> Option<Health> {
        let said = match decode(report).ok()? {
            None => EndpointHealthResponse::default(),
            Some(RequestType::EndpointHealthResponse(said)) => said,
            Some(RequestType::HealthCheckRequest(_)) => return None,
        };
        let proxy = if self.asks_itself {
            self.state("headcount:ready", &said, first_checks_are_over)
        } else {
            HealthState::Ready
        };
        let mut health = Health::of_proxy(proxy);
        for index in 0..self.inbounds {
            let cluster = format!("headcount:inbound:{}", FIRST_PORT + index);
            health.set_inbound(index, self.state(&cluster, &said, first_checks_are_over));
        }
        self.health = health;
        Some(health)
    }

    /// What is said last of a cluster.
    fn state(&mut self, cluster: &str, said: &EndpointHealthResponse, over: bool) -> HealthState {
        let clusters = said.cluster_endpoints_health.iter().filter(|said| said.cluster_name == cluster);
        let localities = clusters.flat_map(|cluster| &cluster.locality_endpoints_health);
        let endpoints = localities.flat_map(|locality| &locality.endpoints_health);
        endpoints.fold(HealthState::Unknown, |_, endpoint| self.state_of(cluster, endpoint, over))
    }

    fn state_of(&mut self, cluster: &str, said: &EndpointHealth, over: bool) -> HealthState {
        let metadata = said.health_metadata.iter().flat_map(|metadata| metadata.fields.keys());
        let has_code = metadata.into_iter().any(|key| key == "http_status_code");
        let status = HealthStatus::try_from(said.health_status).unwrap_or_default();
        if has_code || [HealthStatus::Healthy, HealthStatus::Timeout].contains(&status) {
            self.checked.insert(cluster.to_owned());
        }
        match status {
            HealthStatus::Healthy => HealthState::Ready,
            HealthStatus::Timeout => HealthState::NotReady,
            HealthStatus::Unhealthy if over || self.checked.contains(cluster) => HealthState::NotReady,
            _ => HealthState::Unknown,
        }
    }
}
