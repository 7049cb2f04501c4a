//! Synchronous work that takes milliseconds.

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::block_in_place,
};

/// Runs work that takes milliseconds, such as a snapshot of 10,000 Workloads, without
/// delaying the other tasks of this worker: another thread takes them over meanwhile.
/// On a current-thread runtime, as in the simulation, and outside a runtime the work runs
/// in place.
pub(crate) fn run_blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => block_in_place(work),
        _ => work(),
    }
}
