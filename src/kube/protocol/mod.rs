//! The conventions of a Kubernetes API server over HTTP: what a request asks for, and
//! how responses and failures are encoded.

pub(crate) mod negotiation;
pub(crate) mod options;
pub(crate) mod path;
pub(crate) mod response;
pub(crate) mod status;
