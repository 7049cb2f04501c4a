//! Deterministic simulation of headcount under fault injection.
//!
//! One thread runs one server, 50 agents and 10 watchers on tokio's paused clock. Real are the
//! server with its whole gRPC stack, the agent (`headcount::agent`), and the generated clients
//! of the watchers. Simulated are time, the machines and the network ([`net`]): latency,
//! partitions in one or both directions, lossy links, proxies that answer PINGs and carry nothing
//! else, resets, killed processes, lost power, in half of the seeds the disk of the server ([`store`]),
//! which a restart restores, and in half of the seeds tokens of the dataplanes ([`tokens`]), which are
//! revoked, expire and are replaced.
//!
//! ```text
//!   seed ─► fault schedule ─► simulation ─► heal ─► within CONVERGE_WITHIN:
//!                                 │         replica of every watcher = ListWorkloads = oracle
//!                                 └─► every message of a watch keeps the invariants
//! ```
//!
//! A seed fails if
//! * after a heal the watchers, the listings and the oracle do not agree in time, or do not stay
//!   in agreement ([`convergence`]);
//! * a message breaks an invariant at any time, such as `healthy <= connected <= total`, revisions
//!   that never decrease, or no delta without a snapshot ([`replica`]);
//! * a dataplane that was not touched is not counted at any time, or its Workload gets another uid; with a
//!   disk, a restart of the server is no excuse ([`oracle`]);
//! * a dataplane is connected a second after all its tokens were revoked or have expired ([`tokens`]);
//! * an agent ends with an error that no fault explains ([`oracle`]); or
//! * any task panics ([`panics`]).
//!
//! A seed decides everything, so a failure is replayed by its seed:
//!
//! ```text
//! HEADCOUNT_SIM_SEED=17 cargo test --test sim every_seed -- --nocapture  # one seed, with its trace
//! HEADCOUNT_SIM_SEEDS=20000 cargo test --test sim every_seed             # seeds from 0
//! ```
//!
//! Not decided by the seed are the random branch order of `select!` without `biased`, the order in
//! which tokio wakes several waiters of one `watch` channel, and the iteration order of hash maps.
//! Nothing observable may depend on them: headcount's own selects are biased, each host has a random
//! generator and a trace of its own, and a test compares two runs of a seed.
//!
//! Not simulated: clock jumps of a single host (all hosts share one clock), TLS, and the HTTP and
//! Kubernetes ports.

// A test crate has no public API: `pub` means "visible in this crate".
#![allow(unreachable_pub)]

mod agent;
mod client;
mod convergence;
mod dataplane;
mod duplicates;
mod fault;
mod heartbeats;
mod net;
mod oracle;
mod panics;
mod replica;
mod schedule;
mod seeds;
mod server;
mod simulation;
mod store;
mod tokens;
mod trace;
mod watcher;
