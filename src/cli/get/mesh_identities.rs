//! `headcount get meshidentities`.

use clap::Args;
use tonic::Code;

use super::{
    OutputArgs,
    scope::{NamespaceArgs, Scope},
};
use crate::{
    cli::{
        Failure, Format, Outcome, Problems, Terminal,
        args::server::{ServerArgs, Target},
        client::Client,
        output::{print_list, print_one},
        terminal::visible,
    },
    model::MeshName,
    proto::{GetMeshIdentityRequest, ListMeshIdentitiesRequest},
};

/// Show the rules that give dataplane proxies their SPIFFE IDs
///
/// `headcount get dataplanes -o wide` shows the SPIFFE ID of each proxy.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get meshidentities -A
  headcount get meshidentity web -n kuma-system -o yaml")]
pub(super) struct MeshIdentitiesArgs {
    /// Name of one MeshIdentity; the exit code is 1 if it does not exist
    name: Option<String>,
    /// List only MeshIdentities of this mesh
    #[arg(long, value_name = "MESH", hide_env = true)]
    mesh: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The checked flags.
struct Query {
    target: Target,
    mesh: String,
    scope: Scope,
    format: Format,
}

impl MeshIdentitiesArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let name = self.name.clone().unwrap_or_default();
        let Query { target, mesh, scope, format } = self.check(problems)?;
        let client = Client::connect(target).await?;
        if name.is_empty() {
            let request = ListMeshIdentitiesRequest { namespace: scope.namespace(), mesh };
            let listed = client.with_timeout(client.mesh_identities().list_mesh_identities(request)).await;
            let listed = listed.map_err(|status| client.explain(&status))?;
            print_list(&listed.mesh_identities, format, &scope.place(), terminal)?;
            return Ok(Outcome::Success);
        }
        let request = GetMeshIdentityRequest { namespace: scope.namespace(), name };
        match client.with_timeout(client.mesh_identities().get_mesh_identity(request)).await {
            Ok(found) => {
                print_one(&found.mesh_identity.unwrap_or_default(), format, terminal)?;
                Ok(Outcome::Success)
            }
            Err(status) if status.code() == Code::NotFound => {
                terminal.remark(visible(status.message()));
                Ok(Outcome::Negative)
            }
            Err(status) => Err(client.explain(&status)),
        }
    }

    fn check(self, mut problems: Problems) -> Result<Query, Failure> {
        let scope = self.namespace.check(&self.name.unwrap_or_default(), &mut problems);
        let mesh = self.mesh.map(|mesh| problems.take_checked("mesh", MeshName::parse("mesh", &mesh)));
        let mesh = mesh.flatten().map(|mesh| mesh.to_string()).unwrap_or_default();
        let format = self.output.check(&mut problems);
        let (target, (scope, format)) = self.server.finish(scope.zip(format), problems)?;
        Ok(Query { target, mesh, scope, format })
    }
}
