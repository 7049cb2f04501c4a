//! headcount against a minimal tonic server ([`bare_tonic`]), each in a process of its own, over real sockets
//! on loopback. The clients are the same code for both sides.
//!
//! | row | measured |
//! | --- | --- |
//! | `memory`, `memory-shared` | server memory per idle proxy, on own and on shared connections |
//! | `memory-slope` | the same against the number of connections, a chart |
//! | `scale` | memory, CPU time and latency with 200,000 sessions over 2,000 connections |
//! | `registrations` | new sessions per second over open connections |
//! | `throughput` | reports acknowledged per second, and the server's CPU time for each |
//! | `latency` | from a report to its delta at a watcher, with 10,000 idle proxies |
//! | `fanout` | the server's CPU time of a change that is sent to 100 watchers |
//! | `storm` | until 10,000 proxies have reconnected after a restart, and peak memory |
//! | `silence` | the server's CPU time while 10,000 connected proxies are idle |
//! | `heartbeats` | the same with the heartbeats of agents, against PINGs; both headcount |
//! | `scrape` | reading everything, and the ack latency meanwhile; headcount only |
//! | `delivery` | from a report to its watchers, against the number of watchers, a chart |
//! | `filters` | the server's CPU time of a change, to watchers with different filters; both headcount |
//! | `durable` | with a data directory and without: rates, latency, a restart, bytes on disk; both headcount |
//! | `pages` | the ack latency while a client pages through 200,000 dataplanes; both headcount |
//! | `kubectl` | watches of the Kubernetes API against `WatchWorkloads`; both headcount |
//! | `tls-memory` | as `memory`, with TLS on both sides |
//! | `tls-cost` | the same with TLS and tokens, against plaintext; both headcount |
//! | `tls-handshakes` | the server's CPU time for each TLS handshake, against bare tokio-rustls |
//! | `tls-latency` | as `latency`, with TLS on both sides |
//! | `tls-storm` | as `storm`, with TLS on both sides, and tokens, which headcount verifies |
//!
//! A run fails if a watcher does not end with the exact counts, or if a connection is lost.

mod agents;
mod bare_tls;
mod bare_tonic;
mod clients;
mod delivery;
mod durable;
mod fanout;
mod filters;
mod handshakes;
mod idle;
mod kube;
mod kubectl;
mod latency;
mod light_watch;
mod memory;
mod pages;
#[path = "../../tests/pki/mod.rs"]
#[allow(dead_code, reason = "the benchmarks need no client certificates")]
mod pki;
mod rates;
mod registrations;
mod remote;
mod role;
mod scale;
mod scrape;
mod security;
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
    security::Files,
    support::{
        args::Args,
        chart::{Chart, Scale},
        report::Report,
        rounds::Figure,
    },
};

/// Measures a row, at a tiny scale if `true`.
type Row = fn(bool) -> anyhow::Result<Vec<Figure>>;

const ROWS: [(&str, Row); 12] = [
    ("memory", memory::own_connections),
    ("memory-shared", memory::shared_connections),
    ("memory-slope", memory::slope),
    ("scale", scale::measure),
    ("registrations", registrations::measure),
    ("throughput", throughput::measure),
    ("latency", latency::measure),
    ("fanout", fanout::measure),
    ("storm", storm::measure),
    ("silence", silence::measure),
    ("scrape", scrape::measure),
    ("delivery", delivery::measure),
];

/// Measures a row whose servers have TLS.
type TlsRow = fn(bool, &Files) -> anyhow::Result<Vec<Figure>>;

/// Each with the names of its two sides.
const TLS_ROWS: [(&str, [&str; 2], TlsRow); 5] = [
    ("tls-memory", TLS_SIDES, memory::with_tls),
    ("tls-latency", TLS_SIDES, latency::with_tls),
    ("tls-storm", TLS_SIDES, storm::with_tls),
    ("tls-cost", memory::COST_SIDES, memory::cost_of_tls),
    ("tls-handshakes", handshakes::SIDES, handshakes::measure),
];

const TLS_SIDES: [&str; 2] = ["headcount, TLS", "bare tonic, TLS"];

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
        title: "Latency from a report to its watchers, by the number of watchers",
        x: "watchers, on connections of their own",
        y: "ms",
        scale: Scale::Logarithmic,
    },
];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(role) = &args.role {
        return Role::run(role);
    }
    let others = [silence::HEARTBEATS, filters::ROW, durable::ROW, pages::ROW, kubectl::ROW];
    let plaintext: Vec<_> = ROWS.iter().map(|(name, _)| *name).chain(others).collect();
    let tls = TLS_ROWS.map(|(name, ..)| name);
    if args.wants_any(&plaintext) {
        without_tls(&args, Report::new("streams", &plaintext, &args)?)?;
    }
    if args.wants_any(&tls) {
        with_tls(&args, Report::new("tls", &tls, &args)?)?;
    }
    Ok(())
}

fn without_tls(args: &Args, mut report: Report) -> anyhow::Result<()> {
    for (name, measure) in ROWS {
        if args.wants(name) {
            let start = Instant::now();
            report.add(["headcount", "bare tonic"], measure(args.quick)?);
            eprintln!("{name}: took {} s", start.elapsed().as_secs());
        }
    }
    if args.wants(silence::HEARTBEATS) {
        report.add(silence::HEARTBEAT_SIDES, silence::measure_heartbeats(args.quick)?);
    }
    if args.wants(filters::ROW) {
        for (filters, sides) in filters::COMPARISONS {
            report.add(sides, filters::measure(args.quick, filters)?);
        }
    }
    if args.wants(durable::ROW) {
        report.add(durable::SIDES, durable::measure(args.quick)?);
    }
    if args.wants(pages::ROW) {
        report.add(pages::SIDES, pages::measure(args.quick)?);
    }
    if args.wants(kubectl::ROW) {
        report.add(kubectl::SIDES, kubectl::measure(args.quick)?);
    }
    report.publish(args, &CHARTS)
}

fn with_tls(args: &Args, mut report: Report) -> anyhow::Result<()> {
    let files = Files::create()?;
    for (name, sides, measure) in TLS_ROWS {
        if args.wants(name) {
            let start = Instant::now();
            report.add(sides, measure(args.quick, &files)?);
            eprintln!("{name}: took {} s", start.elapsed().as_secs());
        }
    }
    report.publish(args, &[])
}
