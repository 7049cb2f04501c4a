//! What must hold for whatever a stranger sends: one property for each door,
//! as a function of bytes that panics when it is broken.
//!
//! The fuzzer looks for inputs that break one (`make fuzz`). `tests/fuzz.rs`
//! replays `corpus/`, so what was found once stays found, without a fuzzer.

pub mod dataplane_file;
pub mod envoy_node;
pub mod envoy_report;
pub mod filter;
pub mod hello;
pub mod kube_request;
pub mod report;
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
