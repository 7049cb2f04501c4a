//! `headcount get revocations`.

use clap::Args;

use super::list::ListArgs;
use crate::{
    cli::{Failure, Outcome, Problems, Terminal, client::Client},
    proto::ListRevocationsRequest,
};

/// Show the tokens that have been revoked
///
/// A revocation is kept until a day after its token has expired, and for 10 years if the server
/// does not know when that is. Tokens that ended because their key was deleted are not listed.
/// The caller needs the role operator.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get revocations
  headcount get revocations -o yaml")]
pub(super) struct RevocationsArgs {
    #[command(flatten)]
    list: ListArgs,
}

impl RevocationsArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let list = async |client: &Client| {
            let listed =
                client.with_timeout(client.tokens().list_revocations(ListRevocationsRequest {})).await?;
            Ok(listed.revocations)
        };
        self.list.print(problems, terminal, list).await
    }
}
