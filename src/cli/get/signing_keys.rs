//! `headcount get signing-keys`.

use clap::Args;

use super::list::ListArgs;
use crate::{
    cli::{Failure, Outcome, Problems, Terminal, client::Client},
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
    list: ListArgs,
}

impl SigningKeysArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let list = async |client: &Client| {
            let listed =
                client.with_timeout(client.tokens().list_signing_keys(ListSigningKeysRequest {})).await?;
            Ok(listed.keys)
        };
        self.list.print(problems, terminal, list).await
    }
}
