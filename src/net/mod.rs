//! Network code that servers and clients share: listening and accepting, limits of
//! connections, HTTP/1, TLS, backoff, and the limit of file descriptors.

pub(crate) mod accept;
pub(crate) mod address_buckets;
pub mod backoff;
pub mod client;
pub(crate) mod client_address;
pub mod file_descriptors;
pub(crate) mod foreign;
pub(crate) mod guarded_body;
pub(crate) mod host;
pub(crate) mod http1;
pub(crate) mod listen;
pub(crate) mod places;
pub mod rejection;
pub(crate) mod tls;
