//! The real binary under real faults: cut, stopped and half-open connections, a
//! link that is dropped, no file descriptors left, `kill -9`.
//!
//! ```text
//!   test ── orders ──> fleet: lean clients ──────────┐
//!     │                                              ▼
//!     │   what must be ──> truth: watch, List, ◄── headcount serve ◄── agents in a
//!     │                    metrics                                     network namespace
//!     └── signals, limits, links ────────────────────▲
//! ```
//!
//! After each fault, and after it is healed, what a watch shows, what List says
//! and what Prometheus reads must be what the test knows, within ten seconds.
//! `HEADCOUNT_FAULT_CONNECTIONS`, `_ROUNDS` and `_KILLS` make it more of the same:
//! `make soak` does.

#[path = "../http2/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with other tests, which use the rest of it")]
mod http2;
#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

mod fleet;
mod follow;
mod member;
mod namespace;
mod place;
mod truth;

mod descriptors;
mod held;
mod killed;
mod link;

use std::{env, time::Duration};

/// What the server promises: right after a fault, and after its end.
const PROMISE: Duration = Duration::from_secs(10);

/// A size, if the variable does not say more.
fn count(variable: &str, by_itself: usize) -> usize {
    env::var(variable).map_or(by_itself, |count| count.parse().expect("a number"))
}
