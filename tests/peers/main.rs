//! The real binary with real peers, over real sockets.
//!
//! ```text
//!   test ──> support ──> headcount serve ◄── headcount agent ──> application (a thread of the test)
//!     │         │               ▲    ▲
//!     │         ├── grpcurl ────┤    └── prometheus ◄── its HTTP API ── test
//!     │         └── kubectl ────┤
//!     └── generated client ─────┘
//! ```
//!
//! Each test has a server of its own on a loopback address of its own, so tests
//! may run at the same time, and a port that is given up can be taken again. No
//! test sleeps: it waits, with a deadline, for what a process says, for a watch
//! to show, or for a process to end. What processes said is printed when a test
//! fails.
//!
//! Peers are looked for in the directory `HEADCOUNT_PEERS` (`make test` sets
//! it), else in `PATH`. A test that misses one prints `SKIPPED: ` and why; with
//! `HEADCOUNT_REQUIRE_PEERS=1` it fails.

#[expect(dead_code, reason = "no client shows a certificate here")]
#[path = "../pki/mod.rs"]
mod pki;
mod support;

mod alerts;
mod cli_ends;
mod cli_help;
mod cli_output;
mod configuration;
mod demo;
mod descriptors;
mod document;
mod drain;
mod follow;
mod http;
mod informers;
mod kubectl_follows;
mod kubectl_reads;
mod kubectl_writes;
mod loss;
mod manifests;
mod meshes;
mod pod;
mod prometheus;
mod queries;
mod reflection;
mod restart;
