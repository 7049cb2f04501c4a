//! Property tests of the registry: random sequences of operations against a naive model, with
//! readers that check every message they receive.
//!
//! ```text
//!   sequential   one operation at a time; after each one Get, List, groups, dataplanes, events and
//!                every reader must equal the model exactly
//!   resume       a watch of lifetimes that is cut after any entry must resume without a gap
//!   concurrent   writer threads and a reader thread at once; what does not depend on the order of
//!                operations must hold, and all readers must agree with each other
//!
//!   domain, filter_case, open_session, reader     shared by these tests
//! ```
//!
//! Real are the registry and its sessions, watches and listings. There is no gRPC, time is tokio's
//! paused clock, and the session rate limit and the idle timeout are off; the sequential test has attempts
//! and the throttle of one agent per dataplane. A test fails
//! if any reader sees a value that the model does not have, a revision out of order, a part of a
//! change, or counts that break `healthy <= connected <= total`.
//!
//! `HEADCOUNT_PROPERTY_CASES` sets the number of sequences of each test. A sequential failure is
//! shrunk, and its seed is written to `failures.txt`, whose seeds run first from then on. A
//! concurrent failure prints its seed; `HEADCOUNT_PROPERTY_SEED` runs every case with that seed,
//! because a single run may not reproduce the interleaving of the threads.

mod concurrent;
mod domain;
mod filter_case;
mod open_session;
mod reader;
mod resume;
mod sequential;

/// Sequences of each test.
const CASES: u32 = 4_000;

fn cases() -> u32 {
    std::env::var("HEADCOUNT_PROPERTY_CASES")
        .map_or(CASES, |text| text.parse().expect("HEADCOUNT_PROPERTY_CASES: a number of sequences"))
}
