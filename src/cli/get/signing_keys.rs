//! `headcount get signing-keys`.

use clap::Args;

use super::OutputArgs;
use crate::{
    cli::{
        Failure, Outcome, Problems, Terminal, args::server::ServerArgs, client::Client, output::print_list,
    },
    proto::ListSigningKeysRequest,
};

/// Show the keys with which the server signs tokens
///
/// Private keys are never shown: they leave the server only in backups. Public keys of the
/// access file are not listed. The caller needs the role operator.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get signing-keys
  headcount get signing-keys -o json")]
pub(super) struct SigningKeysArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl SigningKeysArgs {
    pub(super) async fn run(
        self,
        mut problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (format, target) = (self.output.check(&mut problems), self.server.check(&mut problems));
        let (Some(format), Some(target)) = (format, target) else { return Err(problems.into()) };
        problems.finish()?;
        let client = Client::connect(target).await?;
        let listed = client.with_timeout(client.tokens().list_signing_keys(ListSigningKeysRequest {})).await;
        let keys = listed.map_err(|status| client.explain(&status))?.keys;
        print_list(&keys, format, "", terminal)?;
        Ok(Outcome::Success)
    }
}
