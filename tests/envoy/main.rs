//! Real, unmodified Envoys that report to the real binary.
//!
//! ```text
//!                    ┌── HDS ──► headcount serve ◄── watch, List, metrics ── test
//!   Envoy ───────────┘                 ▲
//!     │  └── checks itself             └── headcount agent
//!     └───── checks ──► application (a process)
//! ```
//!
//! The bootstraps are those that `headcount envoy bootstrap` prints. Each test
//! has a server, Envoys and applications of its own, all on a loopback address
//! of its own, and goes through several faults with them: an Envoy takes a while
//! to start. Without an Envoy (`scripts/peers.sh envoy`) they print `SKIPPED: `.

#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

mod admin;
mod application;
mod bootstrap;
mod envoy;
mod stage;

mod applications;
mod loss;
mod nasty;
mod refused;
mod restart;
mod storm;
mod takeover;
