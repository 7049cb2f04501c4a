//! `headcount generate signing-key`.

use std::path::PathBuf;

use clap::Args;

use super::key_files::{PRIVATE, PUBLIC, check_absent, write_new};
use crate::{
    authentication::token::SigningKey,
    cli::{Failure, Outcome, Parsed, Problems, Terminal},
    model::KeyAlgorithm,
};

/// Generate a key that signs tokens
///
/// Prints the private key as PEM (PKCS#8), or writes it to a file that only its owner can
/// read. A server needs the public key only. Files are never overwritten.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
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
    /// File to write the private key to, instead of standard output
    #[arg(long, value_name = "FILE", hide_env = true)]
    key_file: Option<PathBuf>,
    /// File to write the public key to
    #[arg(long, value_name = "FILE", hide_env = true)]
    public_key_file: Option<PathBuf>,
}

impl SigningKeyArgs {
    /// Generates the key, and writes it.
    pub(super) fn run(self, mut problems: Problems, terminal: &mut Terminal<'_>) -> Result<Outcome, Failure> {
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
            file.as_deref().map_or(Ok(()), |file| check_absent(flag, file))?;
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
