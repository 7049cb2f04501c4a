//! Access: what it costs to determine a caller, and what it may do.
//!
//! | row | measured | compared |
//! | --- | --- | --- |
//! | `tokens` | dataplane tokens that one thread verifies | their signatures alone, by ring |
//! | `allow` | decisions about what a caller may do | many and few role bindings |
//!
//! A run fails if a token is not accepted, or a decision is wrong.

mod allow;
#[path = "../support/mod.rs"]
mod support;
mod tokens;

use clap::Parser as _;

use self::support::{args::Args, report::Report};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut report = Report::new("access", &["tokens", allow::ROW], &args)?;
    if args.wants("tokens") {
        report.add(tokens::SIDES, tokens::measure(args.quick)?);
    }
    if args.wants(allow::ROW) {
        report.add(allow::SIDES, allow::measure(args.quick)?);
    }
    report.publish(&args, &[])
}
