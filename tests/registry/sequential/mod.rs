//! One operation at a time: after each one, everything that can be read from the registry equals the
//! model.

mod compare;
mod harness;
mod model;
mod ops;
mod restart;

use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use self::harness::Harness;

#[test]
fn every_reader_agrees_with_the_model_after_every_operation() {
    let config = Config {
        cases: crate::cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/registry/failures.txt"))),
        source_file: Some(file!()),
        ..Config::default()
    };
    // The clock is paused: only `Op::Advance` moves it.
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let outcome = TestRunner::new(config).run(&ops::case(), |case| {
        let _running = clock.enter();
        let mut harness = Harness::new(case.setting, &clock);
        for op in case.ops {
            harness.perform(op);
        }
        harness.finish();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
