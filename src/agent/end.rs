//! How a session ended, and what that means for the next one.

use std::time::Duration;

use tonic::{Code, Status};

use crate::{net::backoff, proto::Drain};

/// How a session ended.
#[derive(Debug, Clone)]
pub enum SessionEnd {
    /// The dataplane said goodbye and the server heard it.
    Goodbye,
    /// The server asked it to come back.
    Drained {
        /// The least time to stay away.
        retry_after: Duration,
        /// For people.
        reason: String,
    },
    /// A newer session of the same dataplane took over. To come back would end
    /// that one, and so on in turns.
    Superseded(Status),
    /// The server will refuse the same hello again.
    Refused(Status),
    /// Anything else; worth another attempt.
    Lost(Status),
}

impl SessionEnd {
    /// The least time before the next attempt, as the server asked for it.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Drained { retry_after, .. } => *retry_after,
            Self::Lost(status) => backoff::retry_after(status),
            Self::Goodbye | Self::Superseded(_) | Self::Refused(_) => Duration::ZERO,
        }
    }
}

impl From<Status> for SessionEnd {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Aborted => Self::Superseded(status),
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unauthenticated
            | Code::PermissionDenied => Self::Refused(status),
            _ => Self::Lost(status),
        }
    }
}

impl From<Drain> for SessionEnd {
    /// A negative time is none.
    fn from(drain: Drain) -> Self {
        let retry_after = drain.retry_after.and_then(|wait| wait.try_into().ok()).unwrap_or_default();
        Self::Drained { retry_after, reason: drain.reason }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[test]
    fn the_code_decides_whether_to_come_back() {
        for code in (0..=16).map(Code::from_i32) {
            let end = SessionEnd::from(Status::new(code, "x"));
            let fits = match code {
                Code::Aborted => matches!(end, SessionEnd::Superseded(_)),
                Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::Unauthenticated
                | Code::PermissionDenied => matches!(end, SessionEnd::Refused(_)),
                _ => matches!(end, SessionEnd::Lost(_)),
            };
            assert!(fits, "{end:?}");
            assert_eq!(end.retry_after(), Duration::ZERO);
        }
    }

    #[test]
    fn the_server_may_ask_for_time() {
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
