//! Converts errors into gRPC statuses.

use std::time::Duration;

use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    model::Invalid,
    registry::{LimitReached, PageError},
    telemetry::metrics::ShedMetrics,
};

/// The retry delay after a limit without one of its own, doubled at most by jitter: long
/// enough for a crowd to thin out, short enough that a free place is soon taken.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation(&invalid.field, &invalid.problem);
        Self::with_error_details(Code::InvalidArgument, invalid.to_string(), details)
    }
}

impl From<PageError> for Status {
    fn from(error: PageError) -> Self {
        Self::aborted(format!("page_token: {error}"))
    }
}

/// `RESOURCE_EXHAUSTED` with a retry delay, counted by the limit's setting.
pub(super) fn limit_reached(metrics: &ShedMetrics, limit: &LimitReached) -> Status {
    metrics.shed(limit.setting());
    let retry_after = match limit {
        // Different for each client already; a little jitter for those that retry again.
        LimitReached::SessionRate { retry_after, .. } => retry_after.mul_f64(1.0 + 0.2 * fastrand::f64()),
        _ => RETRY_AFTER.mul_f64(1.0 + fastrand::f64()),
    };
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, limit.to_string(), details)
}

/// `UNAVAILABLE`: the server is shutting down.
pub(super) fn draining() -> Status {
    Status::unavailable("the server is draining: reconnect")
}

/// The status for a malformed inbound message; none if the error is the end of the
/// connection. tonic reports a message that is too long as `OUT_OF_RANGE` and one that
/// is not protobuf as `INTERNAL`; both are the client's errors.
pub(super) fn malformed(status: &Status) -> Option<Status> {
    match status.code() {
        Code::OutOfRange | Code::Internal => {
            Some(Status::invalid_argument(format!("message: {}", status.message())))
        }
        _ => None,
    }
}

/// Applies [`malformed`] to a response by which tonic itself rejected a message.
pub(super) async fn correct_malformed(response: Response) -> Response {
    let rejected = Status::from_header_map(response.headers());
    match rejected.and_then(|status| malformed(&status)) {
        Some(corrected) => corrected.into_http(),
        None => response,
    }
}
