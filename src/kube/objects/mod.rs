//! Workloads and events: get, list and watch, in all representations.

pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod renderer;
pub(crate) mod watch;
pub(crate) mod workloads;
