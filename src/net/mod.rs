//! What every listener needs: accepting connections, HTTP/1, TLS, and the number of
//! file descriptors that bounds them all.

pub(crate) mod accept;
pub mod backoff;
pub mod file_descriptors;
pub(crate) mod http1;
pub(crate) mod tls;
