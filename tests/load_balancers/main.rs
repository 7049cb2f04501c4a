//! The real binary behind real load balancers: three that terminate HTTP/2, and one that balances connections.
//!
//! ```text
//!   headcount agent ─┐                                                        ┌── counts ──► test
//!   headcount get -w ├──► (relay) ──► nginx │ haproxy │ Envoy ──► (relay) ──► headcount serve
//!   generated client ┘
//! ```
//!
//! The balancers run with the files of `examples/load-balancers`, in which a test replaces only addresses
//! and, where it states so, a setting. Each test runs once for each balancer, at the same time, each with
//! its own server, loopback address and directory; most of the time is spent waiting. A relay is a TCP link
//! that a test can cut without a FIN. A balancer that is missing (`scripts/peers.sh nginx haproxy envoy`) is
//! skipped with `SKIPPED: `.

#[path = "../faults/network_namespace.rs"]
#[allow(dead_code, reason = "the tests of faults use all of it")]
mod network_namespace;
#[path = "../peers/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests with peers use all of it")]
mod support;

mod balancer;
mod fixture;
mod relay;

mod body_size;
mod crowd;
mod link;
mod quiet;
mod restart;
mod sessions;
mod stopped;
mod watchers;

use std::time::Duration;

/// Longest time until a fault, or its end, shows in the counts.
const BOUND: Duration = Duration::from_secs(10);
/// Longest time for an immediate effect of real processes and sockets.
const IMMEDIATE: Duration = Duration::from_secs(3);
