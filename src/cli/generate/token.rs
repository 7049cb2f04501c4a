//! What all tokens have: a key, and a time for which they are valid.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::anyhow;
use clap::Args;

use super::{key_files::read_signing_key, lifetime::Lifetime};
use crate::{
    authentication::token::{Claims, SigningKey, Subject, issue},
    cli::{Failure, Outcome, Parsed, Problems, Terminal},
    model::KeyId,
};

/// The flags of all tokens.
#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    /// PEM file with the private key that signs the token
    #[arg(long, value_name = "FILE", hide_env = true)]
    signing_key_file: PathBuf,
    /// Identifier of the key, by which the server finds the public key
    #[arg(long, value_name = "ID", hide_env = true)]
    kid: String,
    /// How long the token is valid, such as 720h or 30days; at most 10 years
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, hide_env = true)]
    valid_for: Parsed<Lifetime>,
}

/// What signs a token, and for how long.
pub(super) struct Signer {
    key: SigningKey,
    id: KeyId,
    valid_for: Duration,
}

impl TokenArgs {
    /// Checks the flags and reads the key; adds errors to `problems`.
    pub(super) fn check(self, problems: &mut Problems) -> Option<Signer> {
        let key = read_signing_key(&self.signing_key_file);
        let key = key.map_err(|error| problems.note("signing-key-file", &error)).ok();
        let id = problems.take_checked("kid", KeyId::parse("kid", &self.kid));
        let valid_for = problems.take("valid-for", self.valid_for);
        Some(Signer { key: key?, id: id?, valid_for: valid_for?.0 })
    }
}

impl Signer {
    /// Issues a token and prints it.
    pub(super) fn print(&self, subject: Subject, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
        let claims = Claims::new(subject, SystemTime::now(), self.valid_for);
        let token = issue(&claims, &self.id, &self.key);
        let token = token.map_err(|error| anyhow!("the signing key {error}"))?;
        terminal.print(&(token + "\n"))?;
        Ok(Outcome::Success)
    }
}
