//! Several threads at once: three writers with dataplanes of their own under shared names, two of
//! which also compete for one dataplane, and a reader of everything.
//!
//! The mesh that gets a contested name depends on the order of operations, so [`verdict`] checks
//! only what does not, and [`observations`] checks that all reads of one revision agree.

mod observations;
mod readers;
mod run;
mod verdict;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;

#[test]
fn concurrent_readers_agree_and_the_final_state_is_what_the_writers_left() {
    let fixed = std::env::var("HEADCOUNT_PROPERTY_SEED").ok();
    let fixed = fixed.map(|text| text.parse().expect("HEADCOUNT_PROPERTY_SEED: a number"));
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    for case in 0..crate::cases() {
        let seed = fixed.unwrap_or_else(|| fastrand::u64(..));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            run::run(&mut Rng::with_seed(seed), &clock);
        }));
        if let Err(panic) = outcome {
            eprintln!("case {case} failed; replay it with HEADCOUNT_PROPERTY_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
