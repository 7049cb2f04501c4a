//! `headcount get revocations`.

use clap::Args;

use super::OutputArgs;
use crate::{
    cli::{
        Failure, Outcome, Problems, Terminal, args::server::ServerArgs, client::Client, output::print_list,
    },
    proto::ListRevocationsRequest,
};

/// Show the tokens that have been revoked
///
/// A revocation is kept until a day after its token has expired. Tokens that ended because
/// their key was deleted are not listed. The caller needs the role operator.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get revocations
  headcount get revocations -o yaml")]
pub(super) struct RevocationsArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

impl RevocationsArgs {
    pub(super) async fn run(
        self,
        mut problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (format, target) = (self.output.check(&mut problems), self.server.check(&mut problems));
        let (Some(format), Some(target)) = (format, target) else { return Err(problems.into()) };
        problems.finish()?;
        let client = Client::connect(target).await?;
        let listed = client.with_timeout(client.tokens().list_revocations(ListRevocationsRequest {})).await;
        let revocations = listed.map_err(|status| client.explain(&status))?.revocations;
        print_list(&revocations, format, "", terminal)?;
        Ok(Outcome::Success)
    }
}
