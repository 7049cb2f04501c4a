//! How a client recognizes a rejection by headcount.
//!
//! A load balancer or a gateway between client and server may answer with the same status
//! codes for a passing fault: tonic turns its HTTP 403 into `PERMISSION_DENIED`. So headcount
//! adds `google.rpc.ErrorInfo` with its own domain to each rejection that a retry would meet
//! again, and a client gives up on these only. A denial of access has it as well, so that the client
//! states headcount's reason; it retries that, because tokens and rules change.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of `google.rpc.ErrorInfo` in statuses of headcount.
pub const ERROR_DOMAIN: &str = "headcount";

/// A status that a retry would meet again.
pub fn rejection(code: Code, message: impl Into<String>) -> Status {
    rejection_with(code, message, ErrorDetails::new())
}

/// Like [`rejection`], with more details.
pub fn rejection_with(code: Code, message: impl Into<String>, mut details: ErrorDetails) -> Status {
    details.set_error_info("REJECTED", ERROR_DOMAIN, std::collections::HashMap::<String, String>::new());
    Status::with_error_details(code, message, details)
}

/// Whether headcount itself rejected the call.
pub fn is_rejection(status: &Status) -> bool {
    status.get_details_error_info().is_some_and(|info| info.domain == ERROR_DOMAIN)
}
