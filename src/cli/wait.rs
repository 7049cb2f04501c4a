//! `headcount wait`: waits for a condition, for deploy scripts.

use std::{num::NonZeroU32, time::Duration};

use clap::{Args, Subcommand};
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::{
        period::Period,
        server::{ServerArgs, Target},
    },
    client::{Client, is_transient},
    output::counts,
    terminal::visible,
};
use crate::{
    convert,
    model::{DEFAULT_NAMESPACE, MeshName, Namespace, WorkloadName},
    net::backoff::{Backoff, Policy, retry_after},
    proto::{WaitForWorkloadRequest, Workload},
};

/// The longest wait of one request; a longer wait repeats the request. The server sends nothing
/// until the wait ends, so a server that does not respond is detected within this time and
/// [`RESPONSE_GRACE`].
const MAX_REQUEST_WAIT: Duration = Duration::from_secs(5);
/// How long after its timeout a response may come. The server ends the wait itself and returns the
/// counts; the client gives up only if no response comes.
const RESPONSE_GRACE: Duration = Duration::from_secs(3);

/// Wait until enough proxies of a workload are connected or healthy
#[derive(Args, Debug)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  headcount wait workload web --healthy 3 --timeout 2m"
)]
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
/// The exit code is 0 as soon as the counts are reached, and 1 if the timeout ends first;
/// the current counts are then printed. A workload that does not exist has counts of 0.
/// If the connection is lost, the command reconnects until the timeout; if it can't, the
/// exit code is 2.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount wait workload demo-workload --healthy 3
  headcount wait workload demo-workload -n shop --connected 3 --healthy 2 --timeout 5m
  kubectl rollout status deploy/web && headcount wait workload web --healthy 3")]
struct WaitWorkloadArgs {
    /// Name of the workload
    name: String,
    /// Wait until at least this many proxies are healthy
    #[arg(long, value_name = "COUNT")]
    healthy: Option<Parsed<NonZeroU32>>,
    /// Wait until at least this many proxies are connected
    #[arg(long, value_name = "COUNT")]
    connected: Option<Parsed<NonZeroU32>>,
    /// Longest time to wait; 0s checks once
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    timeout: Parsed<Period>,
    /// Namespace of the workload
    #[arg(short, long, value_name = "NAMESPACE", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// Mesh of the workload; in another mesh it counts as missing
    #[arg(long, value_name = "MESH", hide_env = true)]
    mesh: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

impl WaitArgs {
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let Resource::Workload(args) = self.resource;
        let (target, request, timeout) = args.check(problems)?;
        let deadline = Instant::now() + timeout;
        let client = Client::connect(target).await?;
        match wait(&client, &request, deadline, terminal).await? {
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
            Err(counts) => {
                let timeout = humantime::format_duration(timeout);
                terminal.remark(format_args!("timed out after {timeout}: {}", visible(&counts)));
                Ok(Outcome::Negative)
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
            problems.note_text("a condition is missing: set --healthy COUNT, --connected COUNT, or both");
        }
        let healthy = problems.take_optional("healthy", self.healthy);
        let connected = problems.take_optional("connected", self.connected);
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let mesh = self.mesh.filter(|mesh| !mesh.is_empty());
        if let Some(mesh) = &mesh {
            problems.take_checked("mesh", MeshName::parse("mesh", mesh));
        }
        let timeout = problems.take("timeout", self.timeout);
        let (target, (namespace, timeout)) = self.server.finish(namespace.zip(timeout), problems)?;
        let request = WaitForWorkloadRequest {
            name: self.name,
            namespace: namespace.to_string(),
            mesh: mesh.unwrap_or_default(),
            minimum_connected: connected.map_or(0, NonZeroU32::get),
            minimum_healthy: healthy.map_or(0, NonZeroU32::get),
            timeout: None,
        };
        Ok((target, request, timeout.into()))
    }
}

/// Repeats the request until the Workload reaches the counts. Returns the Workload, or after the
/// deadline the server's text with the current counts.
async fn wait(
    client: &Client,
    request: &WaitForWorkloadRequest,
    deadline: Instant,
    terminal: &mut Terminal<'_>,
) -> Result<Result<Workload, String>, Failure> {
    let mut backoff = Backoff::new(Policy::Reader);
    loop {
        let began = Instant::now();
        let left = deadline.saturating_duration_since(began);
        let limit = left.min(MAX_REQUEST_WAIT);
        let request = WaitForWorkloadRequest { timeout: Some(convert::duration(limit)), ..request.clone() };
        let response =
            tokio::time::timeout(limit + RESPONSE_GRACE, client.workloads().wait_for_workload(request)).await;
        let status =
            match response.unwrap_or_else(|_| Err(Status::unavailable("the server does not respond"))) {
                Ok(response) => return Ok(Ok(response.into_inner().workload.unwrap_or_default())),
                Err(status) => status,
            };
        // Sooner than that, it is not the server's: a proxy has a shorter timeout.
        if status.code() == Code::DeadlineExceeded && began.elapsed() >= limit {
            if limit == left {
                return Ok(Err(status.message().to_owned()));
            }
            continue;
        }
        if !is_transient(&status) {
            return Err(client.explain(&status));
        }
        let delay = backoff.next(retry_after(&status));
        if Instant::now() + delay >= deadline {
            return Err(client.explain(&status));
        }
        terminal.remark(format_args!("connection lost ({}); trying again", visible(status.message())));
        tokio::time::sleep(delay).await;
    }
}
