//! The real binary under real faults: reset, stopped and half-open connections, a link that is down, no
//! file descriptors left, `kill -9`.
//!
//! ```text
//!   test ── desired states ──> fleet: small clients ──┐
//!     │                                               ▼
//!     │   expected counts ──> verifier: watch, ◄── headcount serve ◄── agents in a
//!     │                       List, metrics                            network namespace
//!     └── signals, limits, links ─────────────────────▲
//! ```
//!
//! After each fault, and after its end, the counts of a watch, of List and of the metrics must be the
//! expected ones within 10 s. The variables `HEADCOUNT_FAULT_CONNECTIONS`, `_ROUNDS`, `_KILLS`, `_CRASHES`
//! and `_LINKS` set larger sizes; `make soak` uses them. `HEADCOUNT_FAULT_SEED` repeats random moments.

#[path = "../http2/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with other tests, which use the rest of it")]
mod http2;
#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

mod custom_server;
mod fleet;
mod follower;
mod member;
mod network_namespace;
mod session;
mod small_disk;
mod verifier;

mod connections;
mod crash;
mod descriptors;
mod disk_full;
mod disk_hangs;
mod link;
mod lost_with_server;
mod server_kill;

use std::{env, time::Duration};

/// Longest time until all counts are right, after a fault and after its end.
const BOUND: Duration = Duration::from_secs(10);

/// Returns a size from the environment.
fn count(variable: &str, default: usize) -> usize {
    env::var(variable).map_or(default, |count| count.parse().expect("a number"))
}
