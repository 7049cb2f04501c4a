//! One op at a time, and after each the registry is exactly what the model is.

mod compare;
mod model;
mod ops;
mod play;

use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use self::play::Play;

#[test]
fn every_reader_agrees_with_the_model_after_every_op() {
    let config = Config {
        cases: crate::cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/registry/failures.txt"))),
        source_file: Some(file!()),
        ..Config::default()
    };
    // Its clock stands still until an op lets time pass.
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let outcome = TestRunner::new(config).run(&ops::case(), |case| {
        let _running = clock.enter();
        let mut play = Play::new(case.setting, &clock);
        for op in case.ops {
            play.op(op);
        }
        play.end();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
