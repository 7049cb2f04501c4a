//! `headcount get dataplanes`.

use clap::Args;
use tonic::Status;

use super::{
    OutputArgs,
    scope::{NamespaceArgs, Scope, SelectionArgs},
};
use crate::{
    cli::{
        Failure, Format, Outcome, Problems, Terminal,
        client::{Client, ClientArgs, Target},
        output::{print_list, print_one},
    },
    proto::{DataplaneOverview, ListDataplanesRequest},
};

/// Show single dataplane proxies, for people at work on a problem
///
/// Shows every registered proxy, connected or not, with the workload it names
/// and the inbounds that are ready.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get dataplanes --workload demo-workload
  headcount get dataplanes -A -o wide          with addresses, zones, versions and sessions
  headcount get dataplane web-1 -o yaml")]
pub(super) struct DataplanesArgs {
    /// Only the one of this name
    name: Option<String>,
    /// Only proxies of this workload
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What was asked, understood.
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
        let client = target.connect().await?;
        let mut dataplanes = list(&client, request).await.map_err(|status| client.explain(&status))?;
        if name.is_empty() {
            print_list(&dataplanes, format, &scope.place(), terminal)?;
            return Ok(Outcome::Success);
        }
        dataplanes.retain(|overview| overview.dataplane.as_ref().is_some_and(|it| it.name == name));
        match dataplanes.as_slice() {
            [] => {
                terminal.remark(format_args!("dataplane {name:?} not found{}", scope.place()))?;
                return Ok(Outcome::No);
            }
            [one] => print_one(one, format, terminal)?,
            // Each mesh may have one of that name.
            several => print_list(several, format, &scope.place(), terminal)?,
        }
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<Query, Failure> {
        let scope = self.namespace.check(&self.name.unwrap_or_default(), &mut problems);
        let selection = self.selection.check(&mut problems);
        let format = self.output.check(&mut problems);
        let target = self.client.check(&mut problems);
        let (Some(scope), Some(format), Some(target)) = (scope, format, target) else {
            return Err(problems.into());
        };
        problems.finish()?;
        let request = ListDataplanesRequest {
            mesh: selection.mesh,
            namespace: scope.namespace(),
            workload: self.workload.unwrap_or_default(),
            label_selector: selection.selector,
            ..ListDataplanesRequest::default()
        };
        Ok(Query { target, request, scope, format })
    }
}

async fn list(client: &Client, mut request: ListDataplanesRequest) -> Result<Vec<DataplaneOverview>, Status> {
    let mut dataplanes = Vec::new();
    loop {
        let page = client.in_time(client.dataplanes().list_dataplanes(request.clone())).await?;
        dataplanes.extend(page.dataplanes);
        if page.next_page_token.is_empty() {
            return Ok(dataplanes);
        }
        request.page_token = page.next_page_token;
    }
}
