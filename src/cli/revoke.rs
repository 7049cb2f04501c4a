//! `headcount revoke`: revokes tokens.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::{
    Failure, Outcome, Problems, Terminal,
    args::server::{ServerArgs, Target},
    client::Client,
};
use crate::{
    authentication::token::{MAX_TOKEN_BYTES, identify},
    model::TokenId,
    proto::RevokeTokenRequest,
    runtime::limited_file::read_limited,
};

/// Revoke a token
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  headcount revoke token --file web.token"
)]
pub(super) struct RevokeArgs {
    #[command(subcommand)]
    resource: Resource,
}

#[derive(Subcommand, Debug)]
enum Resource {
    Token(RevokeTokenArgs),
}

/// Revoke a dataplane token or a user token
///
/// The token is named by its identifier, its claim `jti`, which is not secret; or by a file
/// that has the token, which is sent to the server and never printed. Sessions, watches and
/// waits that depend on the token end within a second. The caller needs the role operator.
///
/// The server keeps a revocation until a day after the token has expired. It reads when that
/// is from the token in the file, if one of its keys has signed the token. Otherwise, or with
/// an identifier alone, the revocation is kept for 10 years.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount revoke token --file web.token
  headcount revoke token 5f0c1a5e-6d9c-4a50-9d5f-5c1f3a1b0d7e")]
struct RevokeTokenArgs {
    /// Identifier of the token
    #[arg(value_name = "TOKEN_ID", required_unless_present = "file", conflicts_with = "file")]
    id: Option<String>,
    /// File with the token to revoke; --token-file is that of the caller's own token
    #[arg(long, value_name = "FILE", hide_env = true)]
    file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The identifier of a token, and the token itself if there is a file of it.
type Token = (TokenId, Option<Zeroizing<String>>);

impl RevokeArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let Resource::Token(args) = self.resource;
        let (target, (id, token)) = args.check(problems)?;
        let client = Client::connect(target).await?;
        let token = token.as_deref().cloned().unwrap_or_default();
        let request = RevokeTokenRequest { id: id.to_string(), token, expires_at: None };
        let revoked = client.with_timeout(client.tokens().revoke_token(request)).await;
        let revoked = revoked.map_err(|status| client.explain(&status))?;
        terminal.print(&format!("token {id} revoked\n"))?;
        if !revoked.durable {
            terminal.remark(
                "the server has no data directory (--data-dir): the token is valid again after the server's next start",
            );
        }
        Ok(Outcome::Success)
    }
}

impl RevokeTokenArgs {
    fn check(self, mut problems: Problems) -> Result<(Target, Token), Failure> {
        let token = match (self.id, self.file) {
            (_, Some(file)) => read(&file).map_err(|problem| problems.note("file", &problem)).ok(),
            (id, None) => {
                parse_id(&id.unwrap_or_default()).map_err(|problem| problems.note_text(problem)).ok()
            }
        };
        self.server.finish(token, problems)
    }
}

/// Reads the token in a file, and its identifier. The error does not quote the file.
fn read(file: &Path) -> Result<Token, String> {
    let path = file.display();
    // A line break may follow the token.
    let text = read_limited(file, MAX_TOKEN_BYTES as u64 + 2)
        .map_err(|error| format!("{path}: can't read it: {error}"))?;
    let text = text.ok_or_else(|| format!("{path}: is larger than 8 KiB: give a file with one token"))?;
    let text = Zeroizing::new(text);
    let id = identify(text.trim()).map_err(|error| format!("{path}: {error}"))?;
    Ok((id, Some(Zeroizing::new(text.trim().to_owned()))))
}

/// Parses an identifier. The error does not quote it: it may be a token, which is a secret.
fn parse_id(text: &str) -> Result<Token, String> {
    if text.matches('.').count() == 2 && text.starts_with("ey") {
        return Err(
            "TOKEN_ID: this is a token, which is a secret, and not its identifier: write it to a file that \
                    only you can read, and name that with --file"
                .to_owned(),
        );
    }
    let id = TokenId::parse("TOKEN_ID", text).map_err(|invalid| invalid.to_string())?;
    Ok((id, None))
}
