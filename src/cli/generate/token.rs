//! What all tokens have: a key that signs them, and a time for which they are valid.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::anyhow;
use clap::Args;

use super::{key_files::read_signing_key, lifetime::Lifetime};
use crate::{
    authentication::token::{Claims, SigningKey, Subject, issue},
    cli::{
        Failure, Outcome, Parsed, Problems, Terminal,
        args::server::{ServerArgs, Target},
        client::Client,
        new_file::{Existing, NewFile, PRIVATE},
        terminal::visible,
    },
    convert::{self, token::dataplane_token_request},
    model::KeyId,
    proto::IssueUserTokenRequest,
};

/// The flags of all tokens.
#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    /// PEM file with the private key that signs the token here, without a server
    #[arg(long, value_name = "FILE", hide_env = true)]
    signing_key_file: Option<PathBuf>,
    /// Identifier of the key in --signing-key-file, by which a server finds the public key
    #[arg(long, value_name = "ID", hide_env = true)]
    kid: Option<String>,
    /// How long the token is valid, such as 720h or 30days; at most 10 years
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, hide_env = true)]
    valid_for: Parsed<Lifetime>,
    /// File to write the token to, instead of standard output (-); only its owner can read it
    #[arg(short, long, value_name = "FILE", hide_env = true)]
    output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, requires = "output", hide_env = true)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Issues one token.
pub(super) struct Issuer {
    signer: Signer,
    valid_for: Duration,
    /// None for standard output.
    output: Option<PathBuf>,
    /// Whether an existing file is replaced.
    force: bool,
}

/// Where the private key is.
enum Signer {
    /// This process, from a file.
    File { key: Box<SigningKey>, id: KeyId },
    /// A server, which signs with its newest key for such tokens.
    Server(Box<Target>),
}

const NO_SIGNER: &str = "the key that signs the token is missing: set --server or --context for a server that signs \
                         with its own key, or --signing-key-file and --kid to sign here";

impl TokenArgs {
    /// Checks the flags, and reads the key; adds errors to `problems`.
    pub(super) fn check(self, problems: &mut Problems) -> Option<Issuer> {
        let valid_for = problems.take("valid-for", self.valid_for);
        let signer = match self.signing_key_file {
            Some(file) => sign_here(&file, self.kid, &self.server, problems),
            None => sign_at_server(self.kid.is_some(), self.server, problems),
        };
        let output = self.output.filter(|output| output != Path::new("-"));
        Some(Issuer { signer: signer?, valid_for: valid_for?.0, output, force: self.force })
    }
}

fn sign_here(
    file: &Path,
    kid: Option<String>,
    server: &ServerArgs,
    problems: &mut Problems,
) -> Option<Signer> {
    if let Some(flag) = server.flag(problems) {
        let problem =
            format!("can't be combined with --{flag}, whose server has keys of its own: remove one");
        problems.note("signing-key-file", &problem);
    }
    let key = read_signing_key(file);
    let key = key.map_err(|error| problems.note("signing-key-file", &error)).ok();
    if kid.is_none() {
        problems.note("kid", "is missing: --signing-key-file requires the identifier of its key");
    }
    let id = problems.take_checked("kid", KeyId::parse("kid", &kid?));
    Some(Signer::File { key: Box::new(key?), id: id? })
}

fn sign_at_server(has_kid: bool, server: ServerArgs, problems: &mut Problems) -> Option<Signer> {
    if has_kid {
        let problem = "requires --signing-key-file: a server signs with its newest key for such tokens";
        problems.note("kid", problem);
    }
    server.check_named(NO_SIGNER, problems).map(|target| Signer::Server(Box::new(target)))
}

impl Issuer {
    /// Issues a token, and writes it to the file or prints it.
    pub(super) async fn write(
        self,
        subject: Subject,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        // Before a server issues a token that could not be kept.
        let existing = Existing::Replaced { force: self.force };
        let file =
            self.output.map(|output| NewFile::create("output", &output, PRIVATE, existing)).transpose()?;
        let token = match self.signer {
            Signer::File { key, id } => {
                let claims = Claims::new(subject, SystemTime::now(), self.valid_for);
                issue(&claims, &id, &key).map_err(|error| anyhow!("the signing key {error}"))?
            }
            Signer::Server(target) => issue_by_server(*target, subject, self.valid_for).await?,
        };
        match file {
            Some(mut file) => {
                file.write(format!("{token}\n").as_bytes())?;
                file.finish()?;
            }
            None => terminal.print(&format!("{}\n", visible(&token)))?,
        }
        Ok(Outcome::Success)
    }
}

async fn issue_by_server(target: Target, subject: Subject, valid_for: Duration) -> Result<String, Failure> {
    let client = Client::connect(target).await?;
    let mut tokens = client.tokens();
    let issued = match subject {
        Subject::Dataplane(grant) => {
            let request = dataplane_token_request(&grant, valid_for);
            client.with_timeout(tokens.issue_dataplane_token(request)).await.map(|issued| issued.token)
        }
        Subject::User(user) => {
            let valid_for = Some(convert::duration(valid_for));
            let request = IssueUserTokenRequest { name: user.name, groups: user.groups, valid_for };
            client.with_timeout(tokens.issue_user_token(request)).await.map(|issued| issued.token)
        }
    };
    issued.map_err(|status| client.explain(&status))
}
