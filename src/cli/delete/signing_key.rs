//! `headcount delete signing-key`.

use clap::{ArgAction, Args};
use tonic::Code;

use crate::cli::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::{
        key_use::KeyUseArgs,
        server::{ServerArgs, Target},
        switch::Switch,
    },
    client::Client,
    terminal::visible,
};
use crate::{
    convert::token::key_use_to_proto,
    model::{KeyId, KeyUse},
    proto::DeleteSigningKeyRequest,
};

/// Delete a signing key, and with it all tokens that it has signed
///
/// Sessions, watches and waits that depend on these tokens end within a second, and clients
/// need tokens of another key. To replace a key without interruption, create the new key
/// first and issue all tokens again. The caller needs the role operator.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get signing-keys
  headcount delete signing-key 2025 --use dataplane --mesh default --yes
  headcount delete signing-key 2025 --use user --yes")]
pub(super) struct DeleteSigningKeyArgs {
    /// Identifier of the key
    #[arg(value_name = "KID")]
    kid: String,
    #[command(flatten)]
    key_use: KeyUseArgs,
    /// Confirm that all tokens of the key end
    #[arg(long, action = ArgAction::SetTrue, hide_env = true)]
    yes: Parsed<Switch>,
    #[command(flatten)]
    server: ServerArgs,
}

impl DeleteSigningKeyArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (target, usage, id) = self.check(problems)?;
        let client = Client::connect(target).await?;
        let (kind, mesh) = key_use_to_proto(&usage);
        let request = DeleteSigningKeyRequest { kid: id.to_string(), r#use: kind.into(), mesh };
        match client.with_timeout(client.tokens().delete_signing_key(request)).await {
            Ok(_deleted) => {
                terminal.print(&format!("signing key {id} for {usage} deleted\n"))?;
                Ok(Outcome::Success)
            }
            Err(status) if status.code() == Code::NotFound => {
                terminal.remark(format_args!(
                    "{}; list the keys with `headcount get signing-keys`",
                    visible(status.message())
                ));
                Ok(Outcome::Negative)
            }
            Err(status) => Err(client.explain(&status)),
        }
    }

    fn check(self, mut problems: Problems) -> Result<(Target, KeyUse, KeyId), Failure> {
        let id = KeyId::parse("KID", &self.kid).map_err(|error| problems.note_text(error.to_string())).ok();
        let usage = self.key_use.check(&mut problems);
        let yes = problems.take("yes", self.yes);
        let (target, ((usage, id), Switch(yes))) = self.server.finish(usage.zip(id).zip(yes), problems)?;
        if !yes {
            return Err(Failure::Usage(format!(
                "all tokens that key {id} for {usage} has signed would end, and within a second all sessions, watches and \
                 waits that depend on them\n  to delete the key, repeat the command with --yes"
            )));
        }
        Ok((target, usage, id))
    }
}
