//! The one place that turns what went wrong into a gRPC status.

use std::time::Duration;

use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    model::Invalid,
    registry::{Full, PageError},
    telemetry::metrics::ShedMetrics,};

/// When to try again after a limit refused: long enough for a crowd to thin
/// out, short enough that a freed place is soon taken. Doubled at most by jitter.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation(&invalid.field, &invalid.problem);
        Self::with_error_details(Code::InvalidArgument, invalid.to_string(), details)
    }
}

/// Sends somebody away because a limit is reached, and counts it.
pub(super) fn shed(metrics: &ShedMetrics, full: &Full) -> Status {
    metrics.shed(full.setting());
    let retry_after = match full {
        // A time of its own already; a little jitter for those who ask again and again.
        Full::SessionRate { retry_after, .. } => retry_after.mul_f64(1.0 + 0.2 * fastrand::f64()),
        _ => RETRY_AFTER.mul_f64(1.0 + fastrand::f64()),
    };
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, full.to_string(), details)
}

impl From<PageError> for Status {
    fn from(error: PageError) -> Self {
        Self::aborted(format!("page_token: {error}"))
    }
}

/// The server is going away.
pub(super) fn draining() -> Status {
    Status::unavailable("the server is draining: reconnect")
}

/// What a broken inbound message means. tonic reports one that is too long as
/// `OUT_OF_RANGE` and one that is no protobuf as `INTERNAL`; both are the
/// client's doing. Everything else is the connection's end.
pub(super) fn bad_message(status: &Status) -> Option<Status> {
    match status.code() {
        Code::OutOfRange | Code::Internal => {
            Some(Status::invalid_argument(format!("message: {}", status.message())))
        }
        _ => None,
    }
}

/// Says so where tonic itself refused a message before a service saw it.
pub(super) async fn mend(response: Response) -> Response {
    let refused = Status::from_header_map(response.headers());
    match refused.and_then(|status| bad_message(&status)) {
        Some(mended) => mended.into_http(),
        None => response,
    }
}
