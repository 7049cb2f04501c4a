//! What an Envoy has found out, folded into health.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use prost::{DecodeError, Message as _};
use tokio::time::Instant;

use super::checks::{CheckSettings, Checks, Target};
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

/// In the metadata of an endpoint whose check was answered by HTTP.
const HTTP_STATUS_CODE: &str = "http_status_code";

/// Folds the reports of one stream, one after another.
///
/// An Envoy says UNHEALTHY of what it has not yet checked, as of what has
/// failed. So at first that is taken for "nobody knows": until something shows
/// that the first check has ended, or until it must have.
#[derive(Debug)]
pub struct Fold {
    /// In the order of the checks, which begins with the dataplane's inbounds.
    subjects: Box<[Subject]>,
    /// When every first check has ended and its result is reported; none once
    /// that is so.
    first_checks_end: Option<Instant>,
    /// The last report. An Envoy repeats it a few times a second, and changes it
    /// perhaps once a day.
    last: Option<Bytes>,
    /// What it said.
    health: Health,
}

#[derive(Debug)]
struct Subject {
    target: Target,
    /// Its first check has ended.
    is_checked: bool,
}

/// Why a report can't be read. The stream has to end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReport {
    /// It is no protobuf.
    #[error("message: {0}")]
    Undecodable(#[from] DecodeError),
    /// It is a node once more.
    #[error("health_check_request: was said already; open a new stream to say another")]
    NodeAgain,
}

impl Fold {
    /// For the reports of an Envoy that was sent the specifier of these checks
    /// and settings at `sent_at`.
    pub fn new(checks: &Checks, settings: &CheckSettings, sent_at: Instant) -> Self {
        let subject = |target| Subject { target, is_checked: false };
        // A report that leaves just before a check ends does not have its result
        // yet: that comes with the next. And one more, for the way there.
        let first_checks = settings.check_timeout.get() + 2 * settings.report_interval.get();
        Self {
            subjects: checks.iter().map(|check| subject(check.target)).collect(),
            first_checks_end: Some(sent_at + first_checks),
            last: None,
            health: Health::default(),
        }
    }

    /// Takes a report as it is on the wire, and returns the health if that has
    /// changed. Bytes that are equal to the last ones are not decoded, but for
    /// once: when the first checks have ended, the same words mean more.
    pub fn report(&mut self, report: Bytes, now: Instant) -> Result<Option<Health>, BadReport> {
        if self.first_checks_end.is_some_and(|end| end <= now) {
            self.first_checks_end = None;
            self.subjects.iter_mut().for_each(|subject| subject.is_checked = true);
        } else if self.last.as_ref() == Some(&report) {
            // The newer one, although it says the same: the older one may be all
            // that keeps a large buffer from being given back.
            self.last = Some(report);
            return Ok(None);
        }
        let said = HealthCheckRequestOrEndpointHealthResponse::decode(&report[..])?;
        let health = match said.request_type {
            Some(RequestType::EndpointHealthResponse(said)) => self.read(&said),
            // Where there is nothing to check, a report is an empty message.
            None => self.read(&EndpointHealthResponse::default()),
            Some(RequestType::HealthCheckRequest(_)) => return Err(BadReport::NodeAgain),
        };
        self.last = Some(report);
        let changed = self.health != health;
        self.health = health;
        Ok(changed.then_some(health))
    }

    fn read(&mut self, said: &EndpointHealthResponse) -> Health {
        let asks_itself = self.subjects.iter().any(|subject| subject.target == Target::Ready);
        // Of one that is not asked we know that it speaks.
        let proxy = if asks_itself { HealthState::Unknown } else { HealthState::Ready };
        let mut health = Health::of_proxy(proxy);
        for cluster in &said.cluster_endpoints_health {
            let Some(target) = Target::of_cluster(&cluster.cluster_name) else { continue };
            let Some(at) = self.subjects.iter().position(|subject| subject.target == target) else {
                continue;
            };
            let localities = &cluster.locality_endpoints_health;
            for endpoint in localities.iter().flat_map(|locality| &locality.endpoints_health) {
                let state = self.subjects[at].state(endpoint);
                match target {
                    Target::Inbound(_) => health.set_inbound(at, state),
                    Target::Ready => health.proxy = state,
                }
            }
        }
        health
    }
}

impl Subject {
    fn state(&mut self, said: &EndpointHealth) -> HealthState {
        let status = said.health_status();
        let metadata = said.health_metadata.as_ref();
        let is_answered = metadata.is_some_and(|metadata| metadata.fields.contains_key(HTTP_STATUS_CODE));
        self.is_checked |= is_answered || matches!(status, HealthStatus::Healthy | HealthStatus::Timeout);
        match status {
            HealthStatus::Healthy => HealthState::Ready,
            HealthStatus::Timeout => HealthState::NotReady,
            HealthStatus::Unhealthy if self.is_checked => HealthState::NotReady,
            _ => HealthState::Unknown,
        }
    }
}
