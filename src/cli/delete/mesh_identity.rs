//! `headcount delete meshidentity`.

use clap::Args;
use tonic::Code;

use crate::{
    cli::{
        Failure, Outcome, Problems, Terminal,
        args::server::{ServerArgs, Target},
        client::Client,
        terminal::visible,
    },
    model::{DEFAULT_NAMESPACE, Namespace, ResourceName},
    proto::DeleteMeshIdentityRequest,
};

/// Delete a MeshIdentity
///
/// Its dataplanes get the SPIFFE ID of another MeshIdentity that selects them, or none. The
/// caller needs the role operator.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get meshidentities -A
  headcount delete meshidentity web -n kuma-system")]
pub(super) struct DeleteMeshIdentityArgs {
    /// Name of the MeshIdentity; the exit code is 1 if it does not exist
    name: String,
    /// Namespace of the MeshIdentity
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    server: ServerArgs,
}

impl DeleteMeshIdentityArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (target, request) = self.check(problems)?;
        let name = request.name.clone();
        let client = Client::connect(target).await?;
        match client.with_timeout(client.mesh_identities().delete_mesh_identity(request)).await {
            Ok(_deleted) => {
                terminal.print(&format!("meshidentity {name} deleted\n"))?;
                Ok(Outcome::Success)
            }
            Err(status) if status.code() == Code::NotFound => {
                terminal.remark(visible(status.message()));
                Ok(Outcome::Negative)
            }
            Err(status) => Err(client.explain(&status)),
        }
    }

    fn check(self, mut problems: Problems) -> Result<(Target, DeleteMeshIdentityRequest), Failure> {
        let name = ResourceName::parse("NAME", &self.name);
        let name = name.map_err(|error| problems.note_text(error.to_string())).ok();
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let (target, (name, namespace)) = self.server.finish(name.zip(namespace), problems)?;
        let request = DeleteMeshIdentityRequest { namespace: namespace.to_string(), name: name.to_string() };
        Ok((target, request))
    }
}
