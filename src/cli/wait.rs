//! `headcount wait`: the deploy tool's question.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, Subcommand};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::period::Period,
    client::{Client, ClientArgs, Target, is_passing},
    output::counts,
    terminal::visible,
};
use crate::{
    convert,
    model::{DEFAULT_NAMESPACE, MeshName, Namespace, WorkloadName},
    net::backoff::{Backoff, Policy, retry_after},
    proto::{WaitForWorkloadRequest, Workload},
};

/// The longest the server lets one request wait; a longer wait asks again.
const LONGEST_REQUEST: Duration = Duration::from_hours(1);
/// The server ends the wait, and its answer has the numbers; only if it does not
/// come within this time do we.
const GRACE: Duration = Duration::from_secs(5);

/// Wait until enough proxies of a workload are connected or healthy
#[derive(Args, Debug)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(super) struct WaitArgs {
    #[command(subcommand)]
    resource: Resource,
}

#[derive(Subcommand, Debug)]
enum Resource {
    #[command(visible_alias = "wl")]
    Workload(WaitWorkloadArgs),
}

/// Wait until enough proxies of a workload are connected or healthy
///
/// Ends with exit code 0 as soon as the workload has the numbers asked for, and
/// with 1, and the numbers last seen, when the timeout ends first. A workload
/// that does not exist counts as 0. A server that goes away meanwhile is waited
/// for; if it is not back by the timeout, the exit code is 2.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount wait workload demo-workload --healthy 3
  headcount wait workload demo-workload -n shop --connected 3 --healthy 2 --timeout 5m
  kubectl rollout status deploy/web && headcount wait workload web --healthy 3")]
struct WaitWorkloadArgs {
    /// The workload
    name: String,
    /// At least this many healthy proxies
    #[arg(long, value_name = "COUNT")]
    healthy: Option<Parsed<NonZeroU32>>,
    /// At least this many connected proxies
    #[arg(long, value_name = "COUNT")]
    connected: Option<Parsed<NonZeroU32>>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Parsed<Period>,
    /// The workload's namespace
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// Only if this mesh holds the workload
    #[arg(long)]
    mesh: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl WaitArgs {
    /// Waits, and says how it ended.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let Resource::Workload(args) = self.resource;
        let (target, question, timeout) = args.check(problems)?;
        let deadline = Instant::now() + timeout;
        let client = target.connect().await?;
        match wait(&client, &question, deadline, terminal).await? {
            Ok(workload) => {
                let counts = counts(&workload);
                let key = format!("{}/{}", workload.namespace, workload.name);
                terminal.print(&format!(
                    "workload {}: {} connected, {} healthy, {} total\n",
                    visible(&key),
                    counts.connected,
                    counts.healthy,
                    counts.total
                ))?;
                Ok(Outcome::Success)
            }
            Err(numbers) => {
                let timeout = humantime::format_duration(timeout);
                terminal.remark(format_args!("timed out after {timeout}: {}", visible(&numbers)))?;
                Ok(Outcome::No)
            }
        }
    }
}

impl WaitWorkloadArgs {
    fn check(self, mut problems: Problems) -> Result<(Target, WaitForWorkloadRequest, Duration), Failure> {
        if let Err(invalid) = WorkloadName::parse_kubernetes("NAME", &self.name) {
            problems.note_text(invalid.to_string());
        }
        if self.healthy.is_none() && self.connected.is_none() {
            problems.note_text("wait for what? give --healthy COUNT, --connected COUNT, or both");
        }
        let healthy = problems.take_optional("healthy", self.healthy);
        let connected = problems.take_optional("connected", self.connected);
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let mesh = self.mesh.filter(|mesh| !mesh.is_empty());
        if let Some(mesh) = &mesh {
            problems.take_checked("mesh", MeshName::parse("mesh", mesh));
        }
        let timeout = problems.take("timeout", self.timeout);
        let (Some(target), Some(namespace), Some(timeout)) =
            (self.client.check(&mut problems), namespace, timeout)
        else {
            return Err(problems.into());
        };
        problems.finish()?;
        let question = WaitForWorkloadRequest {
            name: self.name,
            namespace: namespace.to_string(),
            mesh: mesh.unwrap_or_default(),
            minimum_connected: connected.map_or(0, NonZeroU32::get),
            minimum_healthy: healthy.map_or(0, NonZeroU32::get),
            timeout: None,
        };
        Ok((target, question, timeout.into()))
    }
}

/// Asks until the answer is yes (the Workload) or the time is over (the numbers
/// last seen, in the server's words).
async fn wait(
    client: &Client,
    question: &WaitForWorkloadRequest,
    deadline: Instant,
    terminal: &mut Terminal<'_>,
) -> Result<Result<Workload, String>, Failure> {
    let mut backoff = Backoff::new(Policy::Reader);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = left.min(LONGEST_REQUEST);
        let request = WaitForWorkloadRequest { timeout: Some(convert::duration(limit)), ..question.clone() };
        let answer = tokio::time::timeout(limit + GRACE, client.workloads().wait_for_workload(request)).await;
        let status = match answer.unwrap_or_else(|_| Err(Status::unavailable("the server does not answer"))) {
            Ok(response) => return Ok(Ok(response.into_inner().workload.unwrap_or_default())),
            Err(status) => status,
        };
        if status.code() == Code::DeadlineExceeded {
            if limit == left {
                return Ok(Err(status.message().to_owned()));
            }
            continue;
        }
        if !is_passing(&status) {
            return Err(client.explain(&status));
        }
        let delay = backoff.next(retry_after(&status));
        if Instant::now() + delay >= deadline {
            return Err(client.explain(&status));
        }
        terminal.remark(format_args!("connection lost ({}); trying again", visible(status.message())))?;
        tokio::time::sleep(delay).await;
    }
}
