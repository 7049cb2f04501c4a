//! Everything at once: writers who own dataplanes of their own but share names,
//! two who fight for one dataplane, and readers who fold meanwhile.
//!
//! Which mesh gets a contested name depends on the order, so the verdict asks
//! only for what does not: see `verdict`.

mod ledger;
mod readers;
mod stage;
mod verdict;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;

#[test]
fn all_readers_agree_whatever_happens_at_once() {
    let fixed = std::env::var("HEADCOUNT_PROPERTY_SEED").ok();
    let fixed = fixed.map(|text| text.parse().expect("HEADCOUNT_PROPERTY_SEED: a number"));
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    for case in 0..crate::cases() {
        let seed = fixed.unwrap_or_else(|| fastrand::u64(..));
        let played = catch_unwind(AssertUnwindSafe(|| {
            stage::play(&mut Rng::with_seed(seed), &clock);
        }));
        if let Err(panic) = played {
            eprintln!("case {case} failed; replay it with HEADCOUNT_PROPERTY_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
