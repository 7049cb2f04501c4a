//! `headcount generate`: keys and tokens, by a server or without one, and certificates.

mod dataplane_token;
mod key_files;
mod lifetime;
mod signing_key;
mod tls_certificate;
mod token;
mod user_token;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, Problems, Terminal};

/// Generate keys and tokens, by a server or without one, and certificates
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct GenerateArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    SigningKey(signing_key::SigningKeyArgs),
    DataplaneToken(dataplane_token::DataplaneTokenArgs),
    UserToken(user_token::UserTokenArgs),
    TlsCertificate(tls_certificate::TlsCertificateArgs),
}

impl GenerateArgs {
    /// Runs the subcommand.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        match self.command {
            Command::SigningKey(args) => args.run(problems, terminal).await,
            Command::DataplaneToken(args) => args.run(problems, terminal).await,
            Command::UserToken(args) => args.run(problems, terminal).await,
            Command::TlsCertificate(args) => args.run(problems),
        }
    }
}
