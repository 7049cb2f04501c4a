//! Converts errors into gRPC statuses.

use std::{error::Error as _, time::Duration};

use axum::response::Response;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    convert::Violations,
    model::Invalid,
    net::rejection::{rejection, rejection_with},
    registry::{Client, ConnectError, LimitReached, PageError},
    telemetry::metrics::ShedMetrics,
};

/// The retry delay after a limit without one of its own, doubled at most by jitter: long
/// enough for a crowd to thin out, short enough that a free place is soon taken.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation(&invalid.field, &invalid.problem);
        rejection_with(Code::InvalidArgument, invalid.to_string(), details)
    }
}

impl From<Violations> for Status {
    fn from(violations: Violations) -> Self {
        let mut details = ErrorDetails::new();
        for Invalid { field, problem } in &violations.0 {
            details.add_bad_request_violation(field, problem);
        }
        rejection_with(Code::InvalidArgument, violations.to_string(), details)
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

/// `RESOURCE_EXHAUSTED` with a retry delay: of the clients at this address, more than `limit`
/// hellos per second were rejected. Counted by the setting from which the limit follows.
pub(super) fn too_many_rejections(metrics: &ShedMetrics, limit: usize, retry_after: Duration) -> Status {
    metrics.shed(ShedMetrics::SESSION_RATE);
    let message = format!(
        "more than {limit} hellos per second from this address were invalid: see the statuses of those, or the server's log"
    );
    let details = ErrorDetails::with_retry_info(Some(retry_after.mul_f64(1.0 + fastrand::f64())));
    Status::with_error_details(Code::ResourceExhausted, message, details)
}

/// `RESOURCE_EXHAUSTED` with a retry delay: another client with the same identity is connected.
pub(super) fn held_off(error: &ConnectError, retry_after: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(retry_after));
    Status::with_error_details(Code::ResourceExhausted, error.to_string(), details)
}

/// `ABORTED`: a newer session of the dataplane took over. A retry would end that one in turn.
pub(super) fn superseded(by: Option<Client>) -> Status {
    let by = by.map(|client| format!(", from {client}")).unwrap_or_default();
    rejection(Code::Aborted, format!("a newer session of this dataplane took over{by}"))
}

/// `UNAVAILABLE`: the server is shutting down.
pub(super) fn draining() -> Status {
    Status::unavailable("the server is draining: reconnect")
}

/// `UNAVAILABLE`: the connection is too old.
pub(super) fn aged_connection() -> Status {
    Status::unavailable("the connection has reached its maximum age (max-connection-age): reconnect")
}

/// The status for a malformed inbound message; none if the error is the end of the stream,
/// such as a reset by the client, which has HTTP/2's error as its source. tonic reports a
/// message that is too long as `OUT_OF_RANGE` and one that is not protobuf as `INTERNAL`,
/// without a source; both are the client's errors.
pub(super) fn malformed(status: &Status) -> Option<Status> {
    match status.code() {
        Code::OutOfRange | Code::Internal if status.source().is_none() => {
            Some(rejection(Code::InvalidArgument, format!("message: {}", status.message())))
        }
        _ => None,
    }
}

/// How the messages begin by which tonic and prost reject a message before a service sees it.
const DECODE_ERRORS: [&str; 4] = [
    "failed to decode Protobuf message",
    "Error, decoded message length too large",
    "protocol error: received",
    "Unexpected EOF decoding stream",
];

/// Applies [`malformed`] to a response by which tonic itself rejected a message. An internal
/// error of a service stays one.
pub(super) async fn correct_malformed(response: Response) -> Response {
    let rejected = Status::from_header_map(response.headers());
    let decode_error =
        rejected.filter(|status| DECODE_ERRORS.iter().any(|start| status.message().starts_with(start)));
    match decode_error.and_then(|status| malformed(&status)) {
        Some(corrected) => corrected.into_http(),
        None => response,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;

    #[test]
    fn an_error_with_a_source_is_the_end_of_the_stream_and_no_malformed_message() {
        for code in [Code::Internal, Code::OutOfRange] {
            let mut reset = Status::new(code, "h2 protocol error: stream error received");
            reset.set_source(Arc::new(io::Error::from(io::ErrorKind::ConnectionReset)));
            assert!(malformed(&reset).is_none());
            let decode_error = Status::new(code, "failed to decode Protobuf message");
            assert_eq!(malformed(&decode_error).map(|status| status.code()), Some(Code::InvalidArgument));
        }
    }

    #[tokio::test]
    async fn an_internal_error_of_a_service_stays_one() {
        for (message, code) in [
            ("a bug", Code::Internal),
            ("failed to decode Protobuf message: invalid wire type", Code::InvalidArgument),
        ] {
            let response = correct_malformed(Status::internal(message).into_http()).await;
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), code, "{message}");
        }
    }
}
