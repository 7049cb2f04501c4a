//! `headcount delete`: deletes resources that operators have created.

mod mesh_identity;
mod signing_key;

use clap::{Args, Subcommand};

use super::{Failure, Outcome, Problems, Terminal};

/// Delete a MeshIdentity or a signing key
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  headcount delete meshidentity web -n kuma-system
  headcount delete signing-key 2025 --use dataplane --mesh default --yes"
)]
pub(super) struct DeleteArgs {
    #[command(subcommand)]
    resource: Resource,
}

#[derive(Subcommand, Debug)]
enum Resource {
    #[command(name = "meshidentity", visible_alias = "mid")]
    MeshIdentity(mesh_identity::DeleteMeshIdentityArgs),
    SigningKey(signing_key::DeleteSigningKeyArgs),
}

impl DeleteArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        match self.resource {
            Resource::MeshIdentity(args) => args.run(problems, terminal).await,
            Resource::SigningKey(args) => args.run(problems, terminal).await,
        }
    }
}
