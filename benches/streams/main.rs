//! Over real sockets: headcount beside the least that a tonic server can do,
//! each in a process of its own. The load is the same code for both, with the
//! client that everybody has.

mod bare;
mod latency;
mod load;
mod memory;
mod server;
#[path = "../support/mod.rs"]
mod support;

use clap::Parser as _;

use self::{
    server::Side,
    support::{args::Args, report::Report, rounds::compare},
};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(role) = &args.role {
        return server::serve(role.parse()?);
    }
    let sides = [Side::Headcount, Side::Bare];
    let mut report = Report::new("streams", sides);
    if args.wants("latency") {
        let scale = if args.quick { latency::QUICK } else { latency::FULL };
        report.add(compare("latency", scale.rounds, sides, |side| latency::round(side, &scale))?);
    }
    if args.wants("memory") {
        let scale = if args.quick { memory::QUICK } else { memory::FULL };
        report.add(compare("memory", scale.rounds, sides, |side| memory::round(side, &scale))?);
    }
    report.publish(&args)
}
