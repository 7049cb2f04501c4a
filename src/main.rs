//! `headcount`, the command: read what is asked, do it, say how it went.

use std::{
    env,
    io::{self, BufWriter},
    process::ExitCode,
};

use headcount::cli::{self, Terminal};

#[tokio::main]
async fn main() -> ExitCode {
    // One system call for an answer, not one for each row. Not locked: the logs
    // of other threads go there too.
    let mut out = BufWriter::new(io::stdout());
    let mut err = io::stderr();
    let mut terminal = Terminal { out: &mut out, err: &mut err };
    match cli::run(env::args_os(), &mut terminal).await {
        Ok(outcome) => outcome.into(),
        Err(failure) => failure.report(),
    }
}
