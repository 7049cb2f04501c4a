//! `headcount generate user-token`.

use clap::Args;

use super::token::TokenArgs;
use crate::{
    authentication::token::Subject,
    cli::{Failure, Outcome, Problems, Terminal},
    model::User,
};

/// Generate a token for a user
///
/// Writes the token, which is a secret, to --output or standard output. What the user may do
/// follows from the roles that the server binds to the user or its groups. A server signs it
/// with its newest key for user tokens (role operator), or this command does with
/// --signing-key-file.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount generate user-token --context prod --name alice --valid-for 24h --output alice.token
  headcount generate user-token --signing-key-file users.key --kid 1 --name alice \\
      --group operators --valid-for 24h --output alice.token")]
pub(super) struct UserTokenArgs {
    /// Name of the user
    #[arg(long, value_name = "NAME", hide_env = true)]
    name: String,
    /// Group of the user; can be repeated
    #[arg(long, value_name = "GROUP", hide_env = true)]
    group: Vec<String>,
    #[command(flatten)]
    token: TokenArgs,
}

impl UserTokenArgs {
    /// Issues the token, and writes or prints it.
    pub(super) async fn run(
        self,
        mut problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let user = User::parse(&self.name, &self.group);
        let user = user.map_err(|invalid| problems.note(&invalid.field, &invalid.problem)).ok();
        let issuer = self.token.check(&mut problems);
        let (Some(user), Some(issuer)) = (user, issuer) else {
            return Err(problems.into());
        };
        problems.finish()?;
        issuer.write(Subject::User(user), terminal).await
    }
}
