//! headcount always knows, per workload, how many dataplane proxies are
//! registered, connected and healthy, and tells every watcher the moment that
//! changes.
//!
//! Doors open inward only: a room may name the rooms below it, never one above.
//!
//! ```text
//! street      main  cli  simulate  ─►  app (binds, serves, drains)
//! desks       grpc (dataplane, envoy, workload, event)   kube (for kubectl)   http (metrics, health)   token
//! vault       registry (the one truth)   changelog (revisions)   events
//! foundation  model  wire  envoy  resource  proto  codec  config  metrics  telemetry  signals  descriptors
//!             accept  tls  http1  ready  apart  alarm  sync
//!
//! beside it   agent (the proxy's side: only model, wire and the client)
//! ```
//!
//! `ARCHITECTURE.md` walks through the rooms.

mod accept;
pub mod agent;
mod alarm;
mod apart;
pub mod app;
pub mod changelog;
pub mod cli;
pub mod codec;
pub mod config;
pub mod descriptors;
pub mod envoy;
pub mod events;
pub mod grpc;
pub mod http;
mod http1;
pub mod kube;
pub mod metrics;
pub mod model;
pub mod proto;
pub mod ready;
pub mod registry;
pub mod resource;
pub mod signals;
pub mod simulate;
mod sync;
pub mod telemetry;
mod tls;
pub mod token;
pub mod wire;

#[cfg(test)]
mod docs_tests;
