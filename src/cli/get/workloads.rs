//! `headcount get workloads`.

use std::io;

use clap::{ArgAction, Args};
use tonic::{Code, Status, Streaming};

use super::{
    OutputArgs,
    fold::Fold,
    follow::{Feed, follow},
    scope::{NamespaceArgs, Scope, SelectionArgs},
};
use crate::{
    cli::{
        Failure, Format, Outcome, Parsed, Problems, Terminal,
        client::{Client, ClientArgs, Target},
        output::{Watched, print_list, print_one},
    },
    convert,
    model::WorkloadName,
    proto::{
        GetWorkloadRequest, ListWorkloadsRequest, WatchWorkloadsRequest, WatchWorkloadsResponse, Workload,
        WorkloadFilter,
    },
};

/// How often a listing starts over when changes overtake it; by then a busy
/// server has had thousands of changes within each.
const LISTINGS: usize = 3;

/// Show how many proxies of each workload are connected and healthy
///
/// CONNECTED proxies have a live session, HEALTHY ones are connected and have
/// reported ready, TOTAL counts all that are registered: a proxy that vanished
/// without a goodbye stays in TOTAL for the server's retention period.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get workloads                      all of the namespace default
  headcount get workloads -A -l kuma.io/mesh=prod
  headcount get workload demo-workload -o yaml
  headcount get workloads -A -w -o json        one JSON document for each change, for scripts")]
pub(super) struct WorkloadsArgs {
    /// Only this one
    name: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Go on and show each change, until Ctrl-C
    #[arg(short, long, action = ArgAction::SetTrue)]
    watch: Parsed<bool>,
    #[command(flatten)]
    client: ClientArgs,
}

/// What was asked, understood.
struct Query {
    target: Target,
    filter: WorkloadFilter,
    scope: Scope,
    format: Format,
    watch: bool,
}

impl WorkloadsArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let Query { target, filter, scope, format, watch } = self.check(problems)?;
        let client = target.connect().await?;
        if watch {
            let watched = Watched::new(format, scope.place());
            let feed = WorkloadFeed { filter, fold: Fold::default(), watched };
            let Err(failure) = follow(&client, feed, terminal).await;
            return Err(failure);
        }
        if filter.name.is_empty() {
            let workloads = list(&client, &filter).await.map_err(|status| client.explain(&status))?;
            print_list(&workloads, format, &scope.place(), terminal)?;
            return Ok(Outcome::Success);
        }
        let found = get(&client, &filter).await.map_err(|status| client.explain(&status))?;
        let Some(workload) = found else {
            terminal.remark(format_args!("workload {:?} not found{}", filter.name, scope.place()))?;
            return Ok(Outcome::No);
        };
        print_one(&workload, format, terminal)?;
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<Query, Failure> {
        let name = self.name.unwrap_or_default();
        if let Err(invalid) = convert::optional(&name, |name| WorkloadName::parse_kubernetes("NAME", name)) {
            problems.note_text(invalid.to_string());
        }
        let scope = self.namespace.check(&name, &mut problems);
        let selection = self.selection.check(&mut problems);
        if !name.is_empty() && !selection.selector.is_empty() {
            let problem = format!("{name:?} is one workload already: leave out the name or the selector");
            problems.note("selector", &problem);
        }
        let format = self.output.check(&mut problems);
        let watch = problems.take("watch", self.watch);
        let target = self.client.check(&mut problems);
        let (Some(scope), Some(format), Some(watch), Some(target)) = (scope, format, watch, target) else {
            return Err(problems.into());
        };
        problems.finish()?;
        let filter = WorkloadFilter {
            mesh: selection.mesh,
            namespace: scope.namespace(),
            name,
            label_selector: selection.selector,
        };
        Ok(Query { target, filter, scope, format, watch })
    }
}

async fn get(client: &Client, filter: &WorkloadFilter) -> Result<Option<Workload>, Status> {
    let request = GetWorkloadRequest {
        name: filter.name.clone(),
        namespace: filter.namespace.clone(),
        mesh: filter.mesh.clone(),
    };
    match client.in_time(client.workloads().get_workload(request)).await {
        Ok(response) => Ok(response.workload),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// All pages of one listing. ABORTED says that changes have overtaken it: then
/// it starts over.
async fn list(client: &Client, filter: &WorkloadFilter) -> Result<Vec<Workload>, Status> {
    let mut attempt = 1;
    loop {
        match list_once(client, filter).await {
            Err(status) if status.code() == Code::Aborted && attempt < LISTINGS => attempt += 1,
            done => return done,
        }
    }
}

async fn list_once(client: &Client, filter: &WorkloadFilter) -> Result<Vec<Workload>, Status> {
    let mut workloads = Vec::new();
    let mut request =
        ListWorkloadsRequest { filter: Some(filter.clone()), ..ListWorkloadsRequest::default() };
    loop {
        let page = client.in_time(client.workloads().list_workloads(request.clone())).await?;
        workloads.extend(page.workloads);
        if page.next_page_token.is_empty() {
            return Ok(workloads);
        }
        request.page_token = page.next_page_token;
    }
}

/// A watch of Workloads and what it has shown.
struct WorkloadFeed {
    filter: WorkloadFilter,
    fold: Fold,
    watched: Watched<Workload>,
}

impl Feed for WorkloadFeed {
    type Message = WatchWorkloadsResponse;

    async fn open(&mut self, client: &Client) -> Result<Streaming<WatchWorkloadsResponse>, Status> {
        let resume_token = self.fold.resume();
        let resumes = !resume_token.is_empty();
        let request = WatchWorkloadsRequest { filter: Some(self.filter.clone()), resume_token };
        match client.in_time(client.workloads().watch_workloads(request.clone())).await {
            // A server of another kind may have taken the place of the first.
            Err(status) if resumes && status.code() == Code::InvalidArgument => {
                let request = WatchWorkloadsRequest { resume_token: String::new(), ..request };
                client.in_time(client.workloads().watch_workloads(request)).await
            }
            opened => opened,
        }
    }

    fn handle(&mut self, message: WatchWorkloadsResponse, terminal: &mut Terminal<'_>) -> io::Result<()> {
        match self.fold.apply(message) {
            None => Ok(()),
            Some(changes) => {
                let changes = changes.iter().map(|change| (change.change, &change.workload));
                self.watched.print(changes, terminal)
            }
        }
    }
}
