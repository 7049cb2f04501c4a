//! Workloads and events: get, list and watch, in every representation.

pub(crate) mod events;
pub(crate) mod kind;
mod list;
mod renderer;
pub(crate) mod right;
pub(crate) mod state;
mod watch;
pub(crate) mod workloads;
