//! Access: what it costs to determine a caller.
//!
//! | row | measured | compared |
//! | --- | --- | --- |
//! | `tokens` | dataplane tokens that one thread verifies | their signatures alone, by ring |
//!
//! A run fails if a token is not accepted.

#[path = "../support/mod.rs"]
mod support;
mod tokens;

use clap::Parser as _;

use self::support::{args::Args, report::Report};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut report = Report::new("access");
    if args.wants("tokens") {
        report.add(tokens::SIDES, tokens::measure(args.quick)?);
    }
    report.publish(&args, &[])
}
