//! Many seeds, on all cores.

use std::{
    env,
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use crate::world::{self, Summary};

/// As many as each run of all tests tries.
const SEEDS: u64 = 1_000;
/// One more failure says little more.
const FAILURES: usize = 5;

/// Runs one seed, on a runtime of its own.
fn run(seed: u64, print: bool) -> Result<Summary, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(world::run(seed, print))
}

fn asked(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number: {text:?}")))
}

#[test]
fn seeds() {
    if let Some(seed) = asked("HEADCOUNT_SIM_SEED") {
        println!("{:?}", run(seed, true).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}")));
        return;
    }
    let (seeds, began) = (asked("HEADCOUNT_SIM_SEEDS").unwrap_or(SEEDS), Instant::now());
    let (next, results) = (AtomicU64::new(0), Mutex::new((Vec::new(), Vec::new())));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds || results.lock().unwrap().1.len() >= FAILURES {
                        return;
                    }
                    let result = run(seed, false);
                    let (right, wrong) = &mut *results.lock().unwrap();
                    match result {
                        Ok(summary) => right.push(summary),
                        Err(why) => {
                            println!("seed {seed}: {why}");
                            println!("  again: HEADCOUNT_SIM_SEED={seed} cargo test --test sim seeds::seeds -- --nocapture");
                            wrong.push(seed);
                        }
                    }
                }
            });
        }
    });
    let (right, wrong) = results.into_inner().unwrap();
    let heals: u32 = right.iter().map(|summary| summary.heals).sum();
    let longest = right.iter().map(|summary| summary.longest).max().unwrap_or_default();
    let simulated: Duration = right.iter().map(|summary| summary.simulated).sum();
    println!(
        "{} seeds held, {heals} heals, the longest until all was right {longest:?}; {simulated:?} simulated in {:?}",
        right.len(),
        began.elapsed()
    );
    assert!(wrong.is_empty(), "seeds that did not hold: {wrong:?}");
}

#[test]
fn a_seed_does_the_same_again() {
    for seed in 0..10 {
        let [once, again] = [run(seed, false), run(seed, false)].map(Result::unwrap);
        assert_eq!(once, again, "seed {seed}");
    }
}
