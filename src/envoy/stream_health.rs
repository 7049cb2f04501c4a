//! Converts the `EndpointHealthResponse` reports of one HDS stream to the health of its dataplane.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::{DecodeError, Message as _};
use tokio::time::Instant;

use super::checks::{Check, CheckSettings, Checks, Target};
use crate::{
    model::{Health, HealthState},
    proto::envoy::{
        config::core::v3::HealthStatus,
        service::health::v3::{
            EndpointHealth, EndpointHealthResponse, HealthCheckRequestOrEndpointHealthResponse,
            health_check_request_or_endpoint_health_response::RequestType,
        },
    },
};

/// Metadata key of an endpoint whose HTTP check received a response.
const HTTP_STATUS_CODE: &str = "http_status_code";

/// The health of a dataplane according to all reports of one stream.
///
/// Envoy reports UNHEALTHY both for an endpoint that failed its checks and for one whose first check has
/// not completed. So UNHEALTHY counts as unknown until a report shows that the endpoint's first check has
/// completed, or until it must have completed: after the check's timeout and two report intervals.
#[derive(Debug)]
pub struct StreamHealth {
    /// One entry per check, in the order of the specifier, which starts with the dataplane's inbounds.
    checks: Box<[CheckState]>,
    /// When all first checks must have completed and been reported; none once that time has passed.
    first_checks_end: Option<Instant>,
    /// The last report, encoded. Envoy repeats an unchanged report several times a second.
    last_report: Option<Bytes>,
    /// The health as of the last report.
    health: Health,
}

#[derive(Debug)]
struct CheckState {
    target: Target,
    /// Whether the first check has completed.
    is_checked: bool,
    /// False if the target counts as not ready whatever the results.
    may_be_ready: bool,
}

/// Why a report is rejected. The server must end the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReport {
    /// The message is not valid protobuf.
    #[error("message: {0}")]
    Undecodable(#[from] DecodeError),
    /// The message is another `health_check_request`, which is allowed only as the first one.
    #[error("health_check_request: was sent already; open a new stream to send another")]
    SecondRequest,
}

impl StreamHealth {
    /// The health of a stream before its first report. The specifier with these checks and settings was
    /// sent at `sent_at`.
    pub fn new(checks: &Checks, settings: &CheckSettings, sent_at: Instant) -> Self {
        let unchecked = |check: &Check| CheckState {
            target: check.target,
            is_checked: false,
            may_be_ready: check.may_be_ready,
        };
        // A result that comes just after a report is sent in the next one, an interval later. The second
        // interval allows for network latency.
        let first_checks = settings.check_timeout.get() + 2 * settings.report_interval.get();
        Self {
            checks: checks.iter().map(unchecked).collect(),
            first_checks_end: Some(sent_at + first_checks),
            last_report: None,
            health: Health::default(),
        }
    }

    /// Processes an encoded report, and returns the health if it has changed.
    ///
    /// A report with the same bytes as the last one is not decoded, with one exception: after the first
    /// checks have completed, the same report means a different health.
    ///
    /// # Errors
    ///
    /// If the message is not a report; the health is unchanged then.
    pub fn report(&mut self, report: Bytes, now: Instant) -> Result<Option<Health>, BadReport> {
        if self.first_checks_end.is_some_and(|end| end <= now) {
            self.first_checks_end = None;
            self.checks.iter_mut().for_each(|check| check.is_checked = true);
        } else if self.last_report.as_ref() == Some(&report) {
            // Retain the newer of two equal reports: the older one may be the last reference to a large
            // receive buffer.
            self.last_report = Some(report);
            return Ok(None);
        }
        let message = HealthCheckRequestOrEndpointHealthResponse::decode(&report[..])?;
        let health = match message.request_type {
            Some(RequestType::EndpointHealthResponse(response)) => self.health_of(&response),
            // Without checks a report is an empty message.
            None => self.health_of(&EndpointHealthResponse::default()),
            Some(RequestType::HealthCheckRequest(_)) => return Err(BadReport::SecondRequest),
        };
        self.last_report = Some(report);
        let changed = self.health != health;
        self.health = health;
        Ok(changed.then_some(health))
    }

    fn health_of(&mut self, response: &EndpointHealthResponse) -> Health {
        let checks_readiness = self.checks.iter().any(|check| check.target == Target::Ready);
        // Without a readiness check, an Envoy that reports is ready.
        let proxy = if checks_readiness { HealthState::Unknown } else { HealthState::Ready };
        let mut health = Health::of_proxy(proxy);
        for cluster in &response.cluster_endpoints_health {
            let Some(target) = Target::from_cluster_name(&cluster.cluster_name) else { continue };
            let Some(index) = self.checks.iter().position(|check| check.target == target) else {
                continue;
            };
            let localities = &cluster.locality_endpoints_health;
            for endpoint in localities.iter().flat_map(|locality| &locality.endpoints_health) {
                let state = self.checks[index].state(endpoint);
                match target {
                    Target::Inbound(_) => health.set_inbound(index, state),
                    Target::Ready => health.proxy = state,
                }
            }
        }
        health
    }
}

impl CheckState {
    fn state(&mut self, endpoint: &EndpointHealth) -> HealthState {
        let status = endpoint.health_status();
        let metadata = endpoint.health_metadata.as_ref();
        let has_response = metadata.is_some_and(|metadata| metadata.fields.contains_key(HTTP_STATUS_CODE));
        self.is_checked |= has_response || matches!(status, HealthStatus::Healthy | HealthStatus::Timeout);
        match status {
            _ if !self.may_be_ready => HealthState::NotReady,
            HealthStatus::Healthy => HealthState::Ready,
            HealthStatus::Timeout => HealthState::NotReady,
            HealthStatus::Unhealthy if self.is_checked => HealthState::NotReady,
            _ => HealthState::Unknown,
        }
    }
}
