//! `headcount generate signing-key`.

use std::path::PathBuf;

use clap::Args;

use super::key_files::write_new;
use crate::{
    authentication::token::SigningKey,
    cli::{
        Failure, Outcome, Parsed, Problems, Terminal,
        args::{
            key_use::KeyUseArgs,
            server::{ServerArgs, Target},
        },
        client::Client,
        new_file::{Existing, PRIVATE, PUBLIC, check_absent},
    },
    convert::token::key_use_to_proto,
    model::{KeyAlgorithm, KeyId, KeyUse},
    proto::{self, CreateSigningKeyRequest},
};

/// Generate a key that signs tokens
///
/// With --kid, a server creates the key, keeps it and issues tokens with it (role operator).
/// The private key leaves the server only in backups. The server needs a data directory.
///
/// Without --kid, the key is made here and no server is called. The private key is printed as
/// PEM (PKCS#8), or written to a file that only its owner can read. A server needs the public
/// key only, in its access file. Files are never overwritten.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount generate signing-key --kid 2026 --use dataplane --mesh default --context prod
  headcount generate signing-key --kid 2026 --use user --context prod
  headcount generate signing-key --key-file signing.key --public-key-file signing.pub
  headcount generate signing-key --algorithm EdDSA > signing.key
  openssl pkey -in signing.key -pubout             the public key of a private key")]
pub(super) struct SigningKeyArgs {
    #[arg(
        long,
        value_name = "ALGORITHM",
        help = "Algorithm of the key: ES256 or EdDSA",
        default_value = "ES256",
        hide_env = true
    )]
    algorithm: Parsed<KeyAlgorithm>,
    /// Identifier of a key that a server creates and keeps
    #[arg(long, value_name = "ID", hide_env = true)]
    kid: Option<String>,
    #[command(flatten)]
    key_use: KeyUseArgs,
    /// File to write the private key to, instead of standard output
    #[arg(long, value_name = "FILE", hide_env = true)]
    key_file: Option<PathBuf>,
    /// File to write the public key to
    #[arg(long, value_name = "FILE", hide_env = true)]
    public_key_file: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

const NO_SERVER: &str = "the server is missing that is to keep the key: set --server or --context, or remove --kid to \
                         make a key here";

impl SigningKeyArgs {
    /// Generates the key, and writes it; or has a server create it.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        if self.kid.is_none() {
            return self.generate(problems, terminal);
        }
        let (target, key) = self.check_created(problems)?;
        let client = Client::connect(target).await?;
        let request = CreateSigningKeyRequest { key: Some(key.to_proto()) };
        let created = client.with_timeout(client.tokens().create_signing_key(request)).await;
        created.map_err(|status| client.explain(&status))?;
        terminal.print(&format!("signing key {} for {} created\n", key.id, key.usage))?;
        Ok(Outcome::Success)
    }

    /// Checks the flags of a key that a server creates.
    fn check_created(self, mut problems: Problems) -> Result<(Target, Key), Failure> {
        for (flag, file) in [("key-file", &self.key_file), ("public-key-file", &self.public_key_file)] {
            if file.is_some() {
                problems.note(flag, "can't be combined with --kid: the key stays at the server; remove one");
            }
        }
        let id = KeyId::parse("kid", &self.kid.unwrap_or_default());
        let id = problems.take_checked("kid", id);
        let algorithm = problems.take("algorithm", self.algorithm);
        let usage = self.key_use.check(&mut problems);
        let target = self.server.check_named(NO_SERVER, &mut problems);
        let (Some(id), Some(algorithm), Some(usage), Some(target)) = (id, algorithm, usage, target) else {
            return Err(problems.into());
        };
        problems.finish()?;
        Ok((target, Key { id, usage, algorithm }))
    }

    /// Generates the key here, and writes it.
    fn generate(self, mut problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        if let Some(flag) = self.server.flag(&problems) {
            problems.note(
                flag,
                "requires --kid, the identifier of the key at the server; without it the key is made here",
            );
        }
        if self.key_use.is_set() {
            problems.note_text(
                "--use and --mesh require --kid: of a key that is made here, the access file states them",
            );
        }
        let Some(algorithm) = problems.take("algorithm", self.algorithm) else {
            return Err(problems.into());
        };
        let key = SigningKey::generate(algorithm);
        let Some(key) =
            key.map_err(|error| problems.note("algorithm", &format!("{algorithm}: {error}"))).ok()
        else {
            return Err(problems.into());
        };
        problems.finish()?;
        let files = [("key-file", &self.key_file), ("public-key-file", &self.public_key_file)];
        for (flag, file) in files {
            file.as_deref().map_or(Ok(()), |file| check_absent(flag, file, Existing::Stays))?;
        }
        match &self.key_file {
            Some(file) => write_new("key-file", file, &key.to_pem(), PRIVATE)?,
            None => terminal.print(&key.to_pem())?,
        }
        if let Some(file) = &self.public_key_file {
            write_new("public-key-file", file, &key.public_key().to_pem(), PUBLIC)?;
        }
        Ok(Outcome::Success)
    }
}

/// A key that a server creates.
struct Key {
    id: KeyId,
    usage: KeyUse,
    algorithm: KeyAlgorithm,
}

impl Key {
    fn to_proto(&self) -> proto::SigningKey {
        let (usage, mesh) = key_use_to_proto(&self.usage);
        proto::SigningKey {
            kid: self.id.to_string(),
            r#use: usage.into(),
            mesh,
            algorithm: self.algorithm.to_string(),
            creation_time: None,
        }
    }
}
