//! Tests of whole commands, from the command line to the output.

mod backup;
mod context;
mod documentation;
mod errors;
mod generate;
mod get;
mod get_workloads;
mod kubeconfig;
mod mesh_identities;
mod real_server;
pub(super) mod samples;
mod scripted_server;
mod security;
mod tokens;
mod wait;

use std::{ffi::OsString, sync::Arc};

use clap::CommandFactory;
use tonic::Status;

use self::scripted_server::ScriptedServer;
use super::{Cli, Failure, Outcome, Terminal};

/// The result and the output of a command.
pub(super) struct Ended {
    pub(super) result: Result<Outcome, Failure>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ended {
    fn failure(self) -> String {
        self.result.expect_err("a failure").to_string()
    }
}

/// Runs a command line, whose words must not contain spaces.
pub(super) async fn run(command: &str) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal { out: &mut out, err: &mut err };
    let args = ["headcount"].into_iter().chain(command.split_whitespace());
    let result = super::run(args.map(OsString::from), &mut terminal).await;
    Ended { result, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

/// Runs a command line with the `--server` flag.
async fn run_with(server: &Arc<ScriptedServer>, command: &str) -> Ended {
    let address = server.serve().await;
    run(&format!("{command} --server {address}")).await
}

/// A permanent error, which ends a watch command.
fn end_watch<T>() -> Result<T, Status> {
    Err(Status::permission_denied("end of the test"))
}

#[test]
fn the_command_line_is_valid() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&format!("completions {shell}")).await;
        assert_eq!(ended.result.unwrap(), Outcome::Success);
        assert!(ended.out.contains("workloads"), "{shell}");
    }
}
