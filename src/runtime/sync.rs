//! The locks and atomics of the registry. Built with `--cfg shuttle`, they are those of the
//! model checker shuttle, which may switch threads at each of them (`make races`).

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(shuttle)]
pub(crate) use shuttled::{Mutex, MutexGuard};

/// Atomics, under the names of the standard library.
pub(crate) mod atomic {
    #[cfg(shuttle)]
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
    #[cfg(not(shuttle))]
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
}

#[cfg(shuttle)]
mod shuttled {
    use std::sync::PoisonError;

    pub(crate) use shuttle::sync::MutexGuard;

    /// shuttle's lock with `parking_lot`'s interface, which has no poisoning.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
