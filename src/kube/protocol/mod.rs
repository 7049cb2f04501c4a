//! The HTTP conventions of Kubernetes' API: query parameters, content negotiation, and how
//! responses and failures are encoded.

pub(crate) mod negotiation;
pub(crate) mod options;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod response;
pub(crate) mod status;
