//! What the benchmarks share: two sides in one run, by turns, several rounds,
//! medians and a ratio.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod args;
mod axis;
pub(crate) mod chart;
pub(crate) mod child;
mod machine;
pub(crate) mod percentile;
pub(crate) mod process;
pub(crate) mod reach;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod typical;
