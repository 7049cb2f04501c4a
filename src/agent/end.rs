//! How a session ended, and whether to open another.

use std::{fmt, time::Duration};

use tonic::{Code, Status};

use crate::{
    net::{backoff, foreign::http_answer, rejection::is_rejection},
    proto::Drain,
};

/// How a session ended.
#[derive(Debug, Clone)]
pub enum SessionEnd {
    /// The dataplane sent a goodbye, and the server closed the stream.
    Goodbye,
    /// The server asked the dataplane to reconnect.
    Drained {
        /// Shortest delay before the next attempt.
        retry_after: Duration,
        /// Free text for logs.
        reason: String,
    },
    /// A newer session of the same dataplane took over. Reconnecting would end that one in turn.
    Superseded(Status),
    /// The server rejected the hello, and would reject it again.
    Refused(Status),
    /// The server rejects the client's credential, or what it allows. The client should read its token file
    /// again and reconnect: tokens and the server's rules change.
    Denied(Status),
    /// Any other end. The dataplane should reconnect.
    Lost(Status),
}

impl SessionEnd {
    /// Returns the delay that the server requested before the next attempt; zero if none.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Drained { retry_after, .. } => *retry_after,
            Self::Lost(status) | Self::Denied(status) => backoff::retry_after(status),
            Self::Goodbye | Self::Superseded(_) | Self::Refused(_) => Duration::ZERO,
        }
    }
}

impl From<Status> for SessionEnd {
    fn from(status: Status) -> Self {
        if let Some(answer) = http_answer(&status) {
            let message = format!("not headcount but something in front of it answered: {answer}");
            return Self::Lost(Status::new(status.code(), message));
        }
        match (status.code(), is_rejection(&status)) {
            (Code::Aborted, true) => Self::Superseded(status),
            (Code::Unauthenticated | Code::PermissionDenied, true) => Self::Denied(status),
            (_, true) => Self::Refused(status),
            // A proxy between agent and server may refuse for a passing fault.
            (
                Code::Unauthenticated
                | Code::PermissionDenied
                | Code::Unimplemented
                | Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::Aborted,
                false,
            ) => {
                let message =
                    format!("not headcount but something in front of it refused: {}", status.message());
                Self::Lost(Status::new(status.code(), message))
            }
            (_, false) => Self::Lost(status),
        }
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goodbye => f.write_str("the dataplane sent a goodbye"),
            Self::Drained { reason, .. } => f.write_str(reason),
            Self::Superseded(status) | Self::Refused(status) | Self::Denied(status) | Self::Lost(status) => {
                f.write_str(status.message())
            }
        }
    }
}

impl From<Drain> for SessionEnd {
    /// A negative `retry_after` counts as zero.
    fn from(drain: Drain) -> Self {
        let retry_after = drain.retry_after.and_then(|wait| wait.try_into().ok()).unwrap_or_default();
        Self::Drained { retry_after, reason: drain.reason }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;
    use crate::net::rejection::rejection;

    #[test]
    fn only_a_rejection_by_headcount_itself_is_final() {
        for code in (0..=16).map(Code::from_i32) {
            let end = SessionEnd::from(Status::new(code, "x"));
            assert!(matches!(end, SessionEnd::Lost(_)), "{end:?}");
            assert_eq!(end.retry_after(), Duration::ZERO);
        }
        for code in [Code::Unauthenticated, Code::PermissionDenied] {
            let end = SessionEnd::from(rejection(code, "the token has expired"));
            assert!(matches!(end, SessionEnd::Denied(_)), "{end:?}");
        }
        for (code, superseded) in
            [(Code::Aborted, true), (Code::InvalidArgument, false), (Code::FailedPrecondition, false)]
        {
            let end = SessionEnd::from(rejection(code, "x"));
            let matches = match end {
                SessionEnd::Superseded(_) => superseded,
                SessionEnd::Refused(_) => !superseded,
                _ => false,
            };
            assert!(matches, "{end:?}");
        }
    }

    #[test]
    fn a_refusal_by_a_proxy_is_called_that() {
        let SessionEnd::Lost(status) = SessionEnd::from(Status::permission_denied("HTTP status 403")) else {
            panic!("it is retried");
        };
        assert_eq!(status.message(), "not headcount but something in front of it refused: HTTP status 403");
        let page = "grpc-status header missing, mapped from HTTP status code 503";
        let end = SessionEnd::from(Status::unavailable(page));
        let expected =
            "not headcount but something in front of it answered: HTTP status 503 (Service Unavailable)";
        assert_eq!(end.to_string(), expected);
    }

    #[test]
    fn the_requested_delay_comes_from_the_drain_or_the_status() {
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        for (retry_after, expected) in [(seconds(7), 7), (seconds(-7), 0), (None, 0)] {
            let end = SessionEnd::from(Drain { retry_after, reason: String::new() });
            assert_eq!(end.retry_after().as_secs(), expected);
        }
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(9)));
        let status = Status::with_error_details(Code::ResourceExhausted, "full", details);
        assert_eq!(SessionEnd::from(status).retry_after().as_secs(), 9);
    }
}
