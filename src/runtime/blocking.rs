//! Synchronous work that takes milliseconds, or waits for a disk.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{self, block_in_place},
};

/// Runs work that takes milliseconds, such as a snapshot of 10,000 Workloads, without
/// delaying the other tasks of this worker: another thread takes them over meanwhile.
/// On a current-thread runtime, as in the simulation, and outside a runtime the work runs
/// in place.
pub(crate) fn run_blocking<T>(work: impl FnOnce() -> T) -> T {
    if is_multi_thread() { block_in_place(work) } else { work() }
}

/// Runs work that waits for a disk on a thread for blocking work, so that the calling task can
/// do other things meanwhile, such as reaching a deadline. On a current-thread runtime, as in the
/// simulation, and outside a runtime the work runs in place. Returns none if the runtime ends
/// before the work begins.
pub(crate) async fn spawn_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !is_multi_thread() {
        return Some(work());
    }
    match task::spawn_blocking(work).await {
        Ok(result) => Some(result),
        Err(error) => error.try_into_panic().map_or(None, |panic| panic::resume_unwind(panic)),
    }
}

/// Drops a value, which waits for a disk, on a thread for blocking work. On a current-thread
/// runtime and outside a runtime it is dropped in place.
pub(crate) fn drop_blocking<T: Send + 'static>(value: T) {
    if is_multi_thread() {
        drop(task::spawn_blocking(move || drop(value)));
    }
}

fn is_multi_thread() -> bool {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    matches!(flavor, Ok(RuntimeFlavor::MultiThread))
}

thread_local! {
    static CATCHES_PANICS: Cell<bool> = const { Cell::new(false) };
}

/// Runs work that may panic because of its input, such as a library that reads a damaged file.
///
/// # Errors
///
/// The text of the panic. It is not logged. What the work has changed may be inconsistent.
pub(crate) fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outer = CATCHES_PANICS.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    CATCHES_PANICS.set(outer);
    result.map_err(|payload| panic_text(&*payload).to_owned())
}

/// Whether a panic of this thread is caught by [`catch_panic`].
pub(crate) fn catches_panics() -> bool {
    CATCHES_PANICS.get()
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_returned_as_its_text() {
        assert_eq!(catch_panic(|| 1), Ok(1));
        assert_eq!(catch_panic(|| assert!(catches_panics(), "not caught")), Ok(()));
        assert!(!catches_panics());
        let (page, none) = (7, None::<()>);
        assert_eq!(catch_panic(|| panic!("page {page}")), Err::<(), _>("page 7".to_owned()));
        assert_eq!(catch_panic(|| none.expect("a page")), Err("a page".to_owned()));
        assert!(!catches_panics());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn work_runs_on_another_thread_of_a_runtime_with_several() {
        let here = std::thread::current().id();
        let there = spawn_blocking(move || std::thread::current().id()).await;
        assert!(there.is_some_and(|there| there != here));
    }

    #[tokio::test]
    async fn work_runs_in_place_on_a_current_thread_runtime() {
        let here = std::thread::current().id();
        assert_eq!(spawn_blocking(move || std::thread::current().id()).await, Some(here));
    }
}
