//! The registry against naive models: random sequences of everything that can
//! happen, and every reader must agree with the model and with each other.
//!
//! ```text
//!   sequential   one op at a time: after each, Get = List = groups = model exactly
//!   resume       a watch of lifetimes, cut after any entry
//!   concurrent   several threads at once: what does not depend on the order holds
//!
//!   world, held, lens, reader   the words and the honest reader both tests use
//! ```
//!
//! `HEADCOUNT_PROPERTY_CASES` sets the number of sequences of each test. A
//! sequential failure is shrunk, and its seed kept in `failures.txt`, which is replayed
//! first from then on. A concurrent failure prints a seed; with
//! `HEADCOUNT_PROPERTY_SEED` each case plays that seed, since one run of it may
//! not meet the same interleaving.

mod concurrent;
mod held;
mod lens;
mod reader;
mod resume;
mod sequential;
mod world;

/// What the issue asks of each CI run.
const CASES: u32 = 10_000;

fn cases() -> u32 {
    std::env::var("HEADCOUNT_PROPERTY_CASES")
        .map_or(CASES, |text| text.parse().expect("HEADCOUNT_PROPERTY_CASES: a number of sequences"))
}
