//! The registry without sockets.
//!
//! | row | measured | compared |
//! | --- | --- | --- |
//! | `memory` | resident memory for each registered and connected dataplane | 1,000,000 dataplanes with 10,000 |
//! | `flip` | time of a report that changes the health | the same |
//! | `identical` | time of a report that changes nothing | the same |
//! | `slope` | both times against the number of dataplanes | a chart |
//! | `watchers` | time of a flip with 10,000 watchers | with none |
//! | `readers` | longest flip while everything is read | with no reader |
//!
//! A run fails if a flip gets no revision, or if a report without a change gets one.

mod flip;
mod loaded;
mod memory;
mod readers;
#[path = "../support/mod.rs"]
mod support;
mod watchers;

use clap::Parser as _;

use self::support::{
    args::Args,
    chart::{Chart, Scale},
    report::Report,
};

const SLOPE: Chart = Chart {
    row: "slope",
    file: "flip.svg",
    title: "The cost of a report, by the number of dataplanes",
    x: "registered dataplanes",
    y: "ns",
    scale: Scale::Linear,
};

const ROWS: [&str; 6] = ["memory", "flip", "identical", "slope", "watchers", "readers"];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(role) = &args.role {
        return memory::fill_and_announce(serde_json::from_str(role)?);
    }
    let sizes = if args.quick { loaded::QUICK } else { loaded::FULL };
    let (few, many) = (sizes[0], sizes[sizes.len() - 1]);
    let mut report = Report::new("registry", &ROWS, &args)?;
    if args.wants("memory") {
        report.add([many, few], memory::measure([many, few], args.quick)?);
    }
    if args.wants_any(&["flip", "identical", "slope"]) {
        let mut registries = flip::LoadedRegistries::of(&sizes, args.quick)?;
        if args.wants("flip") {
            report.add([many, few], registries.flip()?);
        }
        if args.wants("identical") {
            report.add([many, few], registries.identical()?);
        }
        if args.wants("slope") {
            report.add([many, few], registries.slope()?);
        }
    }
    if args.wants("watchers") {
        report.add(watchers::SIDES, watchers::measure(args.quick)?);
    }
    if args.wants("readers") {
        report.add(readers::SIDES, readers::measure(args.quick)?);
    }
    report.publish(&args, &[SLOPE])
}
