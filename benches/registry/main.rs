//! The vault without sockets: what a health flip costs among many dataplanes
//! and among few, with many watchers and with none, while everything is read
//! and while nothing is; and what a registered dataplane weighs.

mod flip;
mod memory;
mod readers;
#[path = "../support/mod.rs"]
mod support;
mod vault;
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
    title: "A report's cost by the number of dataplanes",
    x: "registered dataplanes",
    y: "ns",
    scale: Scale::Linear,
};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(role) = &args.role {
        return memory::weigh(serde_json::from_str(role)?);
    }
    let sizes = if args.quick { vault::QUICK } else { vault::FULL };
    let (few, many) = (sizes[0], sizes[sizes.len() - 1]);
    let mut report = Report::new("registry");
    if args.wants("memory") {
        report.add([many, few], memory::measure([many, few], args.quick)?);
    }
    if ["flip", "identical", "slope"].iter().any(|row| args.wants(row)) {
        let mut vaults = flip::Vaults::of(&sizes, args.quick)?;
        if args.wants("flip") {
            report.add([many, few], vaults.flip()?);
        }
        if args.wants("identical") {
            report.add([many, few], vaults.identical()?);
        }
        if args.wants("slope") {
            report.add([many, few], vaults.slope()?);
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
