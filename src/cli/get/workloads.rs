//! `headcount get workloads`.

use std::io;

use clap::{ArgAction, Args};
use tonic::{Code, Status, Streaming};

use super::{
    OutputArgs,
    follow::{Feed, follow},
    replica::Replica,
    scope::{NamespaceArgs, Scope, SelectionArgs},
    warming::{WarmingRemarks, remark_warming},
};
use crate::{
    cli::{
        Failure, Format, Outcome, Parsed, Problems, Terminal,
        args::{
            server::{ServerArgs, Target},
            switch::Switch,
        },
        client::Client,
        output::{WatchPrinter, print_list, print_one},
    },
    convert,
    model::WorkloadName,
    proto::{
        GetWorkloadRequest, GetWorkloadResponse, ListWorkloadsRequest, Warming, WatchWorkloadsRequest,
        WatchWorkloadsResponse, Workload, WorkloadFilter, watch_stream::KEEPALIVE_INTERVAL,
    },
};

/// Attempts to read all pages of a list. The server aborts a list when its change log no longer
/// reaches back to the first page.
const MAX_LIST_ATTEMPTS: usize = 3;

/// Show how many proxies of each workload are connected and healthy
///
/// CONNECTED counts proxies with an open session, HEALTHY those that are connected and
/// report that they are ready, TOTAL all that are registered. A proxy that was lost
/// stays in TOTAL for the retention period of the server.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount get workloads                      list the namespace default
  headcount get workloads -A -l kuma.io/mesh=prod
  headcount get workload demo-workload -o yaml
  headcount get workloads -A -w -o json        print one line of JSON for each change")]
pub(super) struct WorkloadsArgs {
    /// Name of one workload; the exit code is 1 if it does not exist
    name: Option<String>,
    #[command(flatten)]
    namespace: NamespaceArgs,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Print each change until Ctrl-C
    #[arg(short, long, action = ArgAction::SetTrue)]
    watch: Parsed<Switch>,
    #[command(flatten)]
    server: ServerArgs,
}

/// The checked flags.
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
        let client = Client::connect(target).await?;
        if watch {
            let printer = WatchPrinter::new(format, scope.place());
            let (replica, warming) = (Replica::default(), WarmingRemarks::default());
            let feed = WorkloadFeed { filter, replica, warming, printer };
            let Err(failure) = follow(&client, feed, terminal).await;
            return Err(failure);
        }
        if filter.name.is_empty() {
            let listed = list(&client, &filter).await;
            let (workloads, warming) = listed.map_err(|status| client.explain(&status))?;
            remark_warming(warming, terminal);
            print_list(&workloads, format, &scope.place(), terminal)?;
            return Ok(Outcome::Success);
        }
        let found = get(&client, &filter).await.map_err(|status| client.explain(&status))?;
        let Some(GetWorkloadResponse { workload: Some(workload), warming, .. }) = found else {
            terminal.remark(format_args!("workload {:?} not found{}", filter.name, scope.place()));
            return Ok(Outcome::Negative);
        };
        remark_warming(warming, terminal);
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
            let problem = format!("can't be combined with the name {name:?}: remove one of them");
            problems.note("selector", &problem);
        }
        let format = self.output.check(&mut problems);
        let watch = problems.take("watch", self.watch);
        let checked = scope.zip(format).zip(watch);
        let (target, ((scope, format), Switch(watch))) = self.server.finish(checked, problems)?;
        let filter = WorkloadFilter {
            mesh: selection.mesh,
            namespace: scope.namespace(),
            name,
            label_selector: selection.selector,
        };
        Ok(Query { target, filter, scope, format, watch })
    }
}

async fn get(client: &Client, filter: &WorkloadFilter) -> Result<Option<GetWorkloadResponse>, Status> {
    let request = GetWorkloadRequest {
        name: filter.name.clone(),
        namespace: filter.namespace.clone(),
        mesh: filter.mesh.clone(),
    };
    match client.with_timeout(client.workloads().get_workload(request)).await {
        Ok(response) => Ok(Some(response)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// All Workloads of a list, and whether the server was warming at its revision.
type Listed = (Vec<Workload>, Option<Warming>);

/// Reads all pages of a list. If the server aborts, the list starts again.
async fn list(client: &Client, filter: &WorkloadFilter) -> Result<Listed, Status> {
    let mut attempt = 1;
    loop {
        match list_once(client, filter).await {
            Err(status) if status.code() == Code::Aborted && attempt < MAX_LIST_ATTEMPTS => attempt += 1,
            done => return done,
        }
    }
}

async fn list_once(client: &Client, filter: &WorkloadFilter) -> Result<Listed, Status> {
    let (mut workloads, mut warming) = (Vec::new(), None);
    let mut request =
        ListWorkloadsRequest { filter: Some(filter.clone()), ..ListWorkloadsRequest::default() };
    loop {
        let page = client.with_timeout(client.workloads().list_workloads(request.clone())).await?;
        // All pages show the revision of the first one.
        if request.page_token.is_empty() {
            warming = page.warming;
        }
        workloads.extend(page.workloads);
        if page.next_page_token.is_empty() {
            return Ok((workloads, warming));
        }
        request.page_token = page.next_page_token;
    }
}

/// A watch of Workloads and what it has printed.
struct WorkloadFeed {
    filter: WorkloadFilter,
    replica: Replica,
    warming: WarmingRemarks,
    printer: WatchPrinter<Workload>,
}

impl Feed for WorkloadFeed {
    type Message = WatchWorkloadsResponse;

    async fn open(&mut self, client: &Client) -> Result<Streaming<WatchWorkloadsResponse>, Status> {
        let resume_token = self.replica.resume();
        let resumes = !resume_token.is_empty();
        let filter = Some(self.filter.clone());
        let request =
            WatchWorkloadsRequest { filter, resume_token, keepalive_interval: Some(KEEPALIVE_INTERVAL) };
        match client.with_timeout(client.workloads().watch_workloads(request.clone())).await {
            // Another version of the server, which can't read the token.
            Err(status) if resumes && status.code() == Code::InvalidArgument => {
                let request = WatchWorkloadsRequest { resume_token: String::new(), ..request };
                client.with_timeout(client.workloads().watch_workloads(request)).await
            }
            opened => opened,
        }
    }

    fn handle(&mut self, message: WatchWorkloadsResponse, terminal: &mut Terminal<'_>) -> io::Result<()> {
        if message.synced {
            self.warming.update(message.warming, terminal);
        }
        match self.replica.apply(message) {
            None => Ok(()),
            Some(changes) => {
                let changes = changes.iter().map(|change| (change.change, &change.workload));
                self.printer.print(changes, terminal)
            }
        }
    }
}
