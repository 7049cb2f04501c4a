//! Parts of a process that are independent of what it serves: signals, readiness, blocking
//! work, timers, and locks that a model checker can replace.

pub(crate) mod blocking;
#[cfg(test)]
pub(crate) mod captured_log;
pub(crate) mod coalescing_timer;
pub(crate) mod deadline_timer;
pub(crate) mod files;
pub(crate) mod limited_file;
pub mod readiness;
pub(crate) mod resettable_timer;
pub mod shutdown;
pub mod signals;
pub(crate) mod sync;
