//! The memory of a registered and connected dataplane, each time in a fresh process.

use std::process;

use crate::{
    loaded::{self, Size, per},
    support::{
        child::{self, Process},
        process::resident_bytes,
        rounds::{Figure, Measure, compare},
        target::Target,
    },
};

pub(crate) fn measure(sizes: [Size; 2], quick: bool) -> anyhow::Result<Vec<Figure>> {
    compare("memory", if quick { 1 } else { 3 }, sizes, |Size(dataplanes)| {
        let (_child, bytes): (_, f64) = Process::start(&dataplanes)?;
        let name = "memory of a registered and connected dataplane";
        Ok(vec![Measure::new(name, "bytes", bytes).target(Target::AtMost(700.0))])
    })
}

/// In the child: fills a registry, and announces how many bytes each dataplane takes.
pub(crate) fn fill_and_announce(dataplanes: u32) -> anyhow::Result<()> {
    let dataplanes = dataplanes as usize;
    let mut sessions = Vec::with_capacity(dataplanes);
    let before = resident_bytes(process::id())?;
    let _registry = loaded::fill(0..dataplanes, &mut sessions)?;
    let grown = resident_bytes(process::id())?.saturating_sub(before);
    child::announce(&per(grown, dataplanes)?)?;
    // Skips a million disconnects: the kernel frees the memory faster.
    process::exit(0)
}
