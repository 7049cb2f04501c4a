//! What a registered dataplane weighs, in a fresh process each time.

use std::process;

use crate::{
    support::{
        child::{self, Process},
        process::resident_bytes,
        reach::Reach,
        rounds::{Figure, Measure, compare},
    },
    vault::{self, Size, per},
};

pub(crate) fn measure(sizes: [Size; 2], quick: bool) -> anyhow::Result<Vec<Figure>> {
    compare("memory", if quick { 1 } else { 3 }, sizes, |Size(dataplanes)| {
        let (_weigher, bytes): (_, f64) = Process::start(&dataplanes)?;
        let name = "memory of a registered and connected dataplane";
        Ok(vec![Measure::new(name, "bytes", bytes).reach(Reach::AtMost(700.0))])
    })
}

/// In the role: fills a registry, and says what a dataplane in it weighs.
pub(crate) fn weigh(dataplanes: u32) -> anyhow::Result<()> {
    let dataplanes = dataplanes as usize;
    let mut sessions = Vec::with_capacity(dataplanes);
    let before = resident_bytes(process::id())?;
    let _registry = vault::fill(0..dataplanes, &mut sessions)?;
    let grown = resident_bytes(process::id())?.saturating_sub(before);
    child::announce(&per(grown, dataplanes)?)?;
    // The kernel takes it back faster than a million sessions say farewell.
    process::exit(0)
}
