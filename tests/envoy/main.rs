//! Real, unmodified Envoys that report to the real binary.
//!
//! ```text
//!                    ┌── HDS ──► headcount serve ◄── watch, List, metrics ── test
//!   Envoy ───────────┘                 ▲
//!     │  └── checks itself             └── headcount agent
//!     └───── checks ──► application (a process)
//! ```
//!
//! Envoys run with the bootstraps that `headcount envoy bootstrap` prints. Each test has its own server,
//! Envoys and applications, on its own loopback address. A test covers several faults, because an Envoy
//! takes a while to start. Without an Envoy (`scripts/peers.sh envoy`) the tests print `SKIPPED: `.

#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

#[path = "../pki/mod.rs"]
#[allow(dead_code, reason = "not all kinds of certificates are needed")]
mod pki;

#[path = "../peers/secured.rs"]
#[allow(dead_code, reason = "the tests with peers use all of it")]
mod secured;

mod admin;
mod application;
mod bootstrap;
mod envoy;
mod fixture;

mod credentials;
mod duplicates;
mod health_changes;
mod loss;
mod rejected_nodes;
mod server_restart;
mod session_limit;
mod takeover;
mod unusual_nodes;
