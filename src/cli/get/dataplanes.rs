//! `headcount get dataplanes`.

use clap::Args;
use tonic::Status;

use super::{
    OutputArgs,
    scope::{NamespaceArgs, Scope, SelectionArgs},
    warming::remark_warming,
};
use crate::{
    cli::{
        Failure, Format, Outcome, Problems, Terminal,
        args::server::{ServerArgs, Target},
        client::Client,
        output::{print_list, print_one},
    },
    proto::{DataplaneOverview, ListDataplanesRequest, Warming},
};

/// Show single dataplane proxies, for troubleshooting
///
/// Prints every registered proxy, connected or not, with its workload and the number of
/// inbounds that are ready.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get dataplanes --workload demo-workload
  headcount get dataplanes -A -o wide          include address, zone, version and session
  headcount get dataplane web-1 -o yaml")]
pub(super) struct DataplanesArgs {
    /// Name of one dataplane; the exit code is 1 if it does not exist
    name: Option<String>,
    /// List only proxies of this workload
    #[arg(long, value_name = "NAME", hide_env = true)]
    workload: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The checked flags.
struct Query {
    target: Target,
    request: ListDataplanesRequest,
    scope: Scope,
    format: Format,
}

impl DataplanesArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let name = self.name.clone().unwrap_or_default();
        let Query { target, request, scope, format } = self.check(problems)?;
        let client = Client::connect(target).await?;
        let listed = list(&client, request).await;
        let (mut dataplanes, warming) = listed.map_err(|status| client.explain(&status))?;
        remark_warming(warming, terminal);
        if name.is_empty() {
            print_list(&dataplanes, format, &scope.place(), terminal)?;
            return Ok(Outcome::Success);
        }
        // An older server ignores the name.
        dataplanes.retain(|overview| overview.dataplane.as_ref().is_some_and(|it| it.name == name));
        match dataplanes.as_slice() {
            [] => {
                terminal.remark(format_args!("dataplane {name:?} not found{}", scope.place()));
                return Ok(Outcome::Negative);
            }
            [one] => print_one(one, format, terminal)?,
            // Several meshes may have a dataplane of this name.
            several => print_list(several, format, &scope.place(), terminal)?,
        }
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<Query, Failure> {
        let name = self.name.unwrap_or_default();
        let scope = self.namespace.check(&name, &mut problems);
        let selection = self.selection.check(&mut problems);
        let format = self.output.check(&mut problems);
        let (target, (scope, format)) = self.server.finish(scope.zip(format), problems)?;
        let request = ListDataplanesRequest {
            mesh: selection.mesh,
            namespace: scope.namespace(),
            workload: self.workload.unwrap_or_default(),
            label_selector: selection.selector,
            name,
            ..ListDataplanesRequest::default()
        };
        Ok(Query { target, request, scope, format })
    }
}

/// Reads all pages of a list. Returns also whether the server was warming when it began.
async fn list(
    client: &Client,
    mut request: ListDataplanesRequest,
) -> Result<(Vec<DataplaneOverview>, Option<Warming>), Status> {
    let (mut dataplanes, mut warming) = (Vec::new(), None);
    loop {
        let page = client.with_timeout(client.dataplanes().list_dataplanes(request.clone())).await?;
        if request.page_token.is_empty() {
            warming = page.warming;
        }
        dataplanes.extend(page.dataplanes);
        if page.next_page_token.is_empty() {
            return Ok((dataplanes, warming));
        }
        request.page_token = page.next_page_token;
    }
}
