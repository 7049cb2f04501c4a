//! Fuzz targets for everything that parses untrusted input: each one is a property of the parser, as
//! a function of bytes that panics if the property does not hold.
//!
//! The oracles are second implementations of the rules, written independently of `headcount`:
//! [`rules`], [`selector`], [`ip`], `envoy_node::reference`, [`jwt::rules`].
//!
//! `make fuzz` searches for failing inputs with libFuzzer. `tests/fuzz.rs` replays `corpus/` in every
//! test run, without a fuzzer.

pub mod access_file;
pub mod backup;
pub mod certificate;
pub mod contexts;
pub mod dataplane_file;
pub mod envoy_node;
pub mod envoy_report;
pub mod filter;
pub mod hello;
pub mod jwks;
pub mod jwt;
pub mod kube_request;
pub mod mesh_identity;
pub mod report;
pub mod service_account;
pub mod store_file;
pub mod token;

use std::time::Duration;

use futures_util::FutureExt as _;
use headcount::{
    model::Dataplane,
    registry::{ConnectOptions, Registry, Session},
};

/// Opens a session that may be idle forever.
fn connect(registry: &Registry, dataplane: Dataplane) -> Session {
    let connected = registry.connect(dataplane, ConnectOptions::new(Duration::MAX)).now_or_never();
    connected.expect("a new dataplane need not wait").expect("there is room").session
}

mod harmless;
mod ip;
mod rules;
mod selector;
