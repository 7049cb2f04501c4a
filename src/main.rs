//! The `headcount` command: runs the command line and returns its exit code.

use std::{
    env,
    io::{self, BufWriter},
    panic,
    process::ExitCode,
};

use anyhow::Context as _;
use headcount::{
    cli::{self, Failure, Terminal},
    runtime::shutdown::run_to_end,
    telemetry::logs::{LogFormat, log_panics},
};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    log_panics();
    // A panic in a task ends only that task: the call or the connection that it serves.
    panic::catch_unwind(run).unwrap_or_else(|_| cli::internal_error())
}

fn run() -> ExitCode {
    // Buffered, so that a table takes one system call rather than one per row. Standard error
    // is not locked, because other threads log to it.
    let mut out = BufWriter::new(io::stdout());
    let mut err = io::stderr();
    let mut terminal = Terminal { out: &mut out, err: &mut err };
    // Fails if the process may open no more files, or panics if it may start no more threads.
    let runtime = panic::catch_unwind(Runtime::new);
    match runtime.unwrap_or_else(|_| Err(io::Error::other("tokio panicked"))).context("cannot start") {
        Ok(runtime) => run_to_end(runtime, cli::run_to_exit(env::args_os(), &mut terminal))
            .unwrap_or_else(|_| cli::internal_error()),
        Err(error) => Failure::from(error).report(LogFormat::Text, &mut terminal),
    }
}
