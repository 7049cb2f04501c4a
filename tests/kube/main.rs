//! The Kubernetes API over real sockets, as kubectl and informers use it, and hostile
//! clients.

mod discovery;
mod drain;
mod errors;
mod events;
mod grpc_parity;
mod hostile_clients;
#[path = "../http_response/mod.rs"]
mod http_response;
mod limits;
mod listing;
mod openapi;
mod options;
mod random_requests;
mod resume;
mod selectors;
mod strictness;
mod support;
mod tables;
mod watch;
mod writes;
