//! `headcount apply`: creates and changes `MeshIdentities`.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;

use super::{
    Failure, Outcome, Problems, Terminal,
    args::server::{ServerArgs, Target},
    client::Client,
    terminal::visible,
};
use crate::{
    convert::{MeshIdentityDocument, mesh_identity_message},
    proto::{ApplyMeshIdentityRequest, Change, MeshIdentity},
    runtime::limited_file::read_limited,
};

/// The most bytes of a file.
const MAX_BYTES: u64 = 4 << 20;

/// Create or change MeshIdentities
///
/// Reads Kuma's MeshIdentity resources, in the format of Kubernetes or of Universal. A file
/// may have several documents. All of them are checked before the first one is applied. The
/// caller needs the role operator.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount apply -f identity.yaml
  kubectl get meshidentity -n kuma-system web -o yaml | headcount apply -f -")]
pub(super) struct ApplyArgs {
    /// YAML or JSON file with the resources; - is standard input
    #[arg(short, long, value_name = "FILE", required = true, hide_env = true)]
    filename: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

impl ApplyArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (target, resources) = self.check(problems)?;
        let client = Client::connect(target).await?;
        let mut durable = true;
        for resource in resources {
            let name = visible(&resource.name).into_owned();
            let request = ApplyMeshIdentityRequest { mesh_identity: Some(resource) };
            let applied = client.with_timeout(client.mesh_identities().apply_mesh_identity(request)).await;
            let applied = applied.map_err(|status| client.explain(&status))?;
            for warning in &applied.warnings {
                terminal.remark(format_args!("warning: meshidentity {name}: {}", visible(warning)));
            }
            let change = match applied.change() {
                Change::Created => "created",
                Change::Unchanged => "unchanged",
                Change::Configured | Change::Unspecified => "configured",
            };
            terminal.print(&format!("meshidentity {name} {change}\n"))?;
            durable &= applied.durable;
        }
        if !durable {
            terminal.remark(
                "the server has no data directory (--data-dir): it does not have these resources after its next start",
            );
        }
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<(Target, Vec<MeshIdentity>), Failure> {
        let resources = read(&self.filename).map_err(|problem| problems.note("filename", &problem)).ok();
        self.server.finish(resources, problems)
    }
}

/// The resources of a file.
fn read(file: &Path) -> Result<Vec<MeshIdentity>, String> {
    let path = file.display();
    let text = if file.as_os_str() == "-" {
        let mut text = String::new();
        let read = io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text);
        read.map(|bytes| (bytes as u64 <= MAX_BYTES).then_some(text))
    } else {
        read_limited(file, MAX_BYTES)
    };
    let text = text.map_err(|error| format!("{path}: can't read it: {error}"))?;
    parse(&text.ok_or_else(|| format!("{path}: is larger than 4 MiB"))?)
        .map_err(|problem| format!("{path}: {problem}"))
}

fn parse(text: &str) -> Result<Vec<MeshIdentity>, String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| format!("is not YAML: {}", visible(&error.to_string()).replace("\\n", "\n")))?;
    let documents: Vec<_> = documents.into_iter().filter(|document| !document.is_null()).collect();
    if documents.is_empty() {
        return Err("is empty: write a MeshIdentity".to_owned());
    }
    let several = documents.len() > 1;
    let parsed = documents.iter().enumerate().map(|(index, document)| {
        let parsed = MeshIdentityDocument::parse(document);
        parsed.map(|parsed| mesh_identity_message(&parsed)).map_err(|violations| {
            let lines = violations.to_string().replace('\n', "\n  ");
            if several { format!("document {}:\n  {lines}", index + 1) } else { lines }
        })
    });
    let (valid, invalid): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
    if invalid.is_empty() {
        return Ok(valid.into_iter().flatten().collect());
    }
    Err(invalid.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("\n"))
}
