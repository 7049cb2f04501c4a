//! The harness that the benchmarks share. A benchmark compares a subject with a baseline in one run: the
//! two alternate for several rounds, and the medians, their ratio and its target are reported.
#![allow(dead_code, reason = "no benchmark uses all of it")]

pub(crate) mod args;
mod axis;
pub(crate) mod chart;
pub(crate) mod child;
mod machine;
mod noise;
pub(crate) mod percentile;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod target;
pub(crate) mod typical;
