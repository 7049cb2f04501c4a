//! The locks and atomics of the vault, in one place, so that a model checker
//! can put its own in their place: built with `--cfg shuttle`, every lock and
//! every atomic is a point where shuttle may switch threads
//! (`registry/races.rs`, `make races`).

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Mutex, MutexGuard};
#[cfg(shuttle)]
pub(crate) use shuttled::{Mutex, MutexGuard};

/// Atomics, by the names of the standard library.
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

    /// shuttle's lock with `parking_lot`'s manners: no poisoning.
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
