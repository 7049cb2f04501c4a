//! The whole of headcount in one thread, under every fault that we know, as
//! often as one likes: the real server over its real gRPC stack, agents of the
//! real code, and watchers with the generated clients, over a simulated
//! [`net`]work on a paused clock.
//!
//! ```text
//!   seed ─► plan: faults ─► world ─► heal ─► within SETTLE:
//!                             │         every watcher's fold = ListWorkloads = truth
//!                             └─► every message: possible in itself
//! ```
//!
//! A seed decides everything, and running it again does the same again. When
//! one fails, its number is printed:
//!
//! ```text
//! HEADCOUNT_SIM_SEED=17 cargo test --test sim seeds::seeds -- --nocapture # all that happens in this one
//! HEADCOUNT_SIM_SEEDS=20000 cargo test --test sim seeds::seeds            # as many, from 0
//! ```
//!
//! What no seed decides: tokio's own coin, by which `select!` without `biased`
//! and the waking of several who wait for one `watch` choose an order; and the
//! order of hash maps. Nothing that we look at may depend on them, which is why
//! our own selects are biased, each host has its own chance and its own history
//! in the trace, and a test runs seeds twice.
//!
//! What it can't do: let the clock of one host alone leap, since all share one.

// Nothing outside can name what a test crate has.
#![allow(unreachable_pub)]

mod agent;
mod client;
mod dataplane;
mod fault;
mod fold;
mod net;
mod panics;
mod plan;
mod seeds;
mod server;
mod settle;
mod trace;
mod truth;
mod watcher;
mod world;
