//! headcount always knows, per workload, how many dataplane proxies are registered,
//! connected and healthy, and notifies every watcher the moment that changes.
//!
//! Imports point downwards, except that `config` holds settings of `model`, `registry` and
//! `envoy`, `telemetry` reads `registry` and `persistence` and names a type of `access`, and
//! `envoy` names a type of `registry`:
//!
//! ```text
//! entry points   main  cli  simulate ─► app (binds, serves, drains)
//! API services   grpc (sessions, Envoy, watches)   kube (kubectl, webhooks)   http (metrics, health)
//! core           persistence (stores the records of the registry) ─► store (memory, files)
//!                  └─► registry (state, change log, watches)
//! access         audit (access control of a server, what was refused)
//!                  └─► authentication (the caller of a request) ─► access (allow, live calls)
//! domain model   model   identity (SPIFFE IDs)   convert (messages and documents)   envoy   proto
//! shared         config   net   runtime   telemetry
//!
//! agent          the proxy's side: model, convert, net, runtime and the generated client only
//! ```
//!
//! `ARCHITECTURE.md` follows a health report through the layers.

pub mod access;
pub mod agent;
pub mod app;
pub mod audit;
pub mod authentication;
pub mod cli;
pub mod config;
pub mod convert;
pub mod envoy;
pub mod grpc;
pub mod http;
pub mod identity;
pub mod kube;
pub mod model;
pub mod net;
pub mod persistence;
pub mod proto;
pub mod registry;
pub mod runtime;
pub mod simulate;
pub mod store;
pub mod telemetry;
