//! Envoy's Health Discovery Service (HDS): an unmodified Envoy as a dataplane proxy.
//!
//! [`node`] converts the `Node` of an Envoy's first message to a dataplane and its health checks,
//! [`checks`] builds the `HealthCheckSpecifier` of the response, and [`stream_health`] converts the
//! `EndpointHealthResponse` reports that follow to health. These modules do no I/O; the gRPC stream is
//! in `grpc`.

pub mod checks;
mod metadata;
pub mod node;
pub mod stream_health;
