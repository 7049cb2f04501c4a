//! Over real sockets: headcount beside the least that a tonic server can do,
//! each in a process of its own. The load is the same code for both, with the
//! client that everybody has.

mod bare;
mod crowd;
mod delivery;
mod fanout;
mod heard;
mod idle;
mod kube;
mod kubectl;
mod latency;
mod load;
mod memory;
mod role;
mod scrape;
mod server;
mod silence;
mod storm;
#[path = "../support/mod.rs"]
mod support;
mod throughput;
mod watch;
mod writer;

use std::time::Instant;

use clap::Parser as _;

use self::{
    role::Role,
    support::{
        args::Args,
        chart::{Chart, Scale},
        report::Report,
        rounds::Figure,
    },
};

/// Measures a row; `true` is a tiny version.
type Row = fn(bool) -> anyhow::Result<Vec<Figure>>;

const ROWS: [(&str, Row); 10] = [
    ("memory", memory::own_connections),
    ("memory-shared", memory::shared_connections),
    ("memory-slope", memory::slope),
    ("throughput", throughput::measure),
    ("latency", latency::measure),
    ("fanout", fanout::measure),
    ("storm", storm::measure),
    ("silence", silence::measure),
    ("scrape", scrape::measure),
    ("delivery", delivery::measure),
];

const CHARTS: [Chart; 2] = [
    Chart {
        row: "memory-slope",
        file: "memory.svg",
        title: "Server memory per proxy, by the number of connections",
        x: "connections, one proxy each",
        y: "KiB",
        scale: Scale::Linear,
    },
    Chart {
        row: "delivery",
        file: "delivery.svg",
        title: "From a report to its watchers, by the number of watchers",
        x: "watchers, on connections of their own",
        y: "ms",
        scale: Scale::Logarithmic,
    },
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(role) = &args.role {
        return Role::play(role);
    }
    let mut report = Report::new("streams");
    for (name, measure) in ROWS {
        if args.wants(name) {
            let start = Instant::now();
            report.add(["headcount", "bare tonic"], measure(args.quick)?);
            eprintln!("{name}: took {} s", start.elapsed().as_secs());
        }
    }
    if args.wants(kubectl::ROW) {
        report.add(kubectl::SIDES, kubectl::measure(args.quick)?);
    }
    report.publish(&args, &CHARTS)
}
