//! The `headcount` command: parses the arguments, runs the command, and returns its exit code.

use std::{
    env,
    io::{self, BufWriter},
    process::ExitCode,
};

use headcount::cli::{self, Terminal};

#[tokio::main]
async fn main() -> ExitCode {
    // Buffered, so that a table takes one system call rather than one per row. Standard error
    // is not locked, because other threads log to it.
    let mut out = BufWriter::new(io::stdout());
    let mut err = io::stderr();
    let mut terminal = Terminal { out: &mut out, err: &mut err };
    match cli::run(env::args_os(), &mut terminal).await {
        Ok(outcome) => outcome.into(),
        Err(failure) => failure.report(),
    }
}
