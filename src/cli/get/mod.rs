//! `headcount get`: lists and watches of resources.

mod dataplanes;
mod events;
mod follow;
mod list;
mod mesh_identities;
mod replica;
mod revocations;
mod scope;
mod signing_keys;
mod warming;
mod workloads;

use clap::{Args, Subcommand};

use super::{Failure, Format, Outcome, Parsed, Problems, Terminal, choice};

/// Show workloads, dataplane proxies, events, MeshIdentities, signing keys or revocations
///
/// Prints the current state as a table, or as JSON or YAML in the format of Kuma's
/// resources. With --watch, which workloads and events have, it then prints every change,
/// until Ctrl-C.
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  headcount get workloads -A                   list the workloads of all namespaces
  headcount get dataplanes --workload web      list the proxies of a workload
  headcount get events -w                      print each event when it occurs
  headcount get meshidentities -A              list the rules that give proxies SPIFFE IDs
  headcount get signing-keys                   list the keys with which the server signs tokens"
)]
pub(super) struct GetArgs {
    #[command(subcommand)]
    resource: Resource,
}

#[derive(Subcommand, Debug)]
enum Resource {
    #[command(visible_aliases = ["workload", "wl"])]
    Workloads(workloads::WorkloadsArgs),
    #[command(visible_aliases = ["dataplane", "dp"])]
    Dataplanes(dataplanes::DataplanesArgs),
    #[command(visible_aliases = ["event", "ev"])]
    Events(events::EventsArgs),
    #[command(name = "meshidentities", visible_aliases = ["meshidentity", "mid"])]
    MeshIdentities(mesh_identities::MeshIdentitiesArgs),
    #[command(visible_alias = "signing-key")]
    SigningKeys(signing_keys::SigningKeysArgs),
    #[command(visible_alias = "revocation")]
    Revocations(revocations::RevocationsArgs),
}

impl GetArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        match self.resource {
            Resource::Workloads(args) => args.run(problems, terminal).await,
            Resource::Dataplanes(args) => args.run(problems, terminal).await,
            Resource::Events(args) => args.run(problems, terminal).await,
            Resource::MeshIdentities(args) => args.run(problems, terminal).await,
            Resource::SigningKeys(args) => args.run(problems, terminal).await,
            Resource::Revocations(args) => args.run(problems, terminal).await,
        }
    }
}

/// `--output`.
#[derive(Args, Debug)]
struct OutputArgs {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_parser = choice::<Format>(), default_value = "table")]
    output: Parsed<Format>,
}

impl OutputArgs {
    fn check(self, problems: &mut Problems) -> Option<Format> {
        problems.take("output", self.output)
    }
}
