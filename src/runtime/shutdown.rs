//! The end of a runtime whose threads may wait for a disk that hangs.

use std::{
    panic::{self, AssertUnwindSafe},
    thread,
    time::Duration,
};

use tokio::runtime::Runtime;

/// Longest time that the process waits, after its command has ended, for work that can't be
/// cancelled, such as a write to a disk.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs a command, and ends the runtime within [`SHUTDOWN_TIMEOUT`] after it. Dropping a runtime
/// would wait for its blocking work without a bound.
///
/// # Errors
///
/// The payload of a panic of the command.
pub fn run_to_end<T>(runtime: Runtime, command: impl Future<Output = T>) -> thread::Result<T> {
    let result = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(command)));
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::spawn_blocking;

    use super::*;

    fn ends_while_a_write_hangs(command: fn() -> u8) -> thread::Result<u8> {
        // The write ends when the test does.
        let (_disk, hangs) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            let (started, start) = mpsc::channel();
            let result = run_to_end(Runtime::new().unwrap(), async move {
                drop(spawn_blocking(move || {
                    started.send(()).unwrap();
                    hangs.recv()
                }));
                start.recv().unwrap();
                command()
            });
            ended.send(result).unwrap();
        });
        end.recv_timeout(SHUTDOWN_TIMEOUT * 30).expect("the runtime ends although the write does not")
    }

    #[test]
    fn a_runtime_ends_although_a_write_hangs() {
        assert_eq!(ends_while_a_write_hangs(|| 7).unwrap(), 7);
    }

    #[test]
    fn a_runtime_ends_after_a_panic_although_a_write_hangs() {
        assert!(ends_while_a_write_hangs(|| panic!("a command that panics")).is_err());
    }
}
