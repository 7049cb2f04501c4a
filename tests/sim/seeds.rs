//! Runs many seeds, on all cores.

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

use crate::simulation::{self, Summary};

/// Seeds of each test run, unless `HEADCOUNT_SIM_SEEDS` is set.
const SEEDS: u64 = 500;
/// Failing seeds after which the run stops.
const MAX_FAILURES: usize = 5;

/// Runs one seed, on a runtime of its own.
fn run(seed: u64, print: bool) -> Result<Summary, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(simulation::run(seed, print))
}

fn number_from_env(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number: {text:?}")))
}

#[test]
fn every_seed_converges_and_keeps_the_invariants() {
    if let Some(seed) = number_from_env("HEADCOUNT_SIM_SEED") {
        println!("{:?}", run(seed, true).unwrap_or_else(|failure| panic!("seed {seed}: {failure}")));
        return;
    }
    let (seeds, began) = (number_from_env("HEADCOUNT_SIM_SEEDS").unwrap_or(SEEDS), Instant::now());
    let (next, results) = (AtomicU64::new(0), Mutex::new((Vec::new(), Vec::new())));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds || results.lock().unwrap().1.len() >= MAX_FAILURES {
                        return;
                    }
                    let result = run(seed, false);
                    let (passed, failed) = &mut *results.lock().unwrap();
                    match result {
                        Ok(summary) => passed.push(summary),
                        Err(failure) => {
                            println!("seed {seed}: {failure}");
                            println!(
                                "  replay: HEADCOUNT_SIM_SEED={seed} cargo test --test sim every_seed -- --nocapture"
                            );
                            failed.push(seed);
                        }
                    }
                }
            });
        }
    });
    let (passed, failed) = results.into_inner().unwrap();
    let heals: u32 = passed.iter().map(|summary| summary.heals).sum();
    let slowest = passed.iter().map(|summary| summary.slowest).max().unwrap_or_default();
    let simulated: Duration = passed.iter().map(|summary| summary.simulated).sum();
    println!(
        "{} seeds passed, {heals} heals, slowest convergence {slowest:?}; simulated {simulated:?} in {:?}",
        passed.len(),
        began.elapsed()
    );
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
}

#[test]
fn a_seed_replays_the_same_trace() {
    for seed in 0..10 {
        let [first, second] = [run(seed, false), run(seed, false)].map(Result::unwrap);
        assert_eq!(first, second, "seed {seed}");
    }
}
