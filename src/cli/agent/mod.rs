//! `headcount agent`: the sidecar.

mod pod;

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::info;

use self::pod::PodArgs;
use super::{
    Failure, Outcome, Parsed, Problems,
    args::{
        dataplane_file::DataplaneFileArg,
        log::{LogArgs, Logs},
        server_url::ServerUrl,
    },
};
use crate::{
    agent::{self, AgentConfig, ProbeSpec, Probes, endpoint},
    model::Dataplane,
    runtime::signals::ShutdownSignals,
};

/// Register one dataplane proxy and report its health
///
/// Reads Kuma's Dataplane resource unmodified, probes each inbound that has a
/// serviceProbe, reports each change at once and everything every 30s, comes
/// back when the server was lost, and says goodbye on SIGTERM or Ctrl-C.
///
/// In a Kubernetes Pod it needs no file: the manifest gives it the Pod's name and
/// namespace as environment variables, the Pod's labels and annotations by the
/// downward API, and the ports of the application.
///
/// Ends with code 2 if another attempt could do no good: the server refuses the
/// dataplane, or a newer agent speaks for it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount agent --dataplane-file examples/dataplanes/demo-workload.yaml
  headcount agent --dataplane-file dp.yaml --proxy-ready-url http://127.0.0.1:9901/ready
  headcount agent --dataplane-file dp.yaml --server headcount.mesh.svc:7100
  POD_NAME=web-0 POD_NAMESPACE=shop headcount agent --workload web --inbound 8080=/healthz")]
pub(super) struct AgentArgs {
    /// Kuma's Dataplane resource, as YAML
    #[arg(long, value_name = "FILE")]
    dataplane_file: Option<PathBuf>,
    /// Where the server listens for gRPC; `host:port` will do
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7100")]
    server: Parsed<ServerUrl>,
    /// Where the proxy beside the agent says whether it is ready, such as
    /// Envoy's <http://127.0.0.1:9901/ready>; without it the proxy counts as ready
    #[arg(long, value_name = "URL")]
    proxy_ready_url: Option<String>,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl AgentArgs {
    /// Runs until a signal ends it.
    pub(super) async fn run(self, problems: Problems) -> Result<Outcome, Failure> {
        let (config, logs) = self.check(problems)?;
        logs.start();
        info!(dataplane = %config.dataplane.key, server = %config.server.uri(), "starting");
        let mut signals = ShutdownSignals::install().map_err(anyhow::Error::from)?;
        let leave = CancellationToken::new();
        let mut running = std::pin::pin!(agent::run(config, leave.clone()));
        let ended = tokio::select! {
            ended = &mut running => ended,
            () = signals.recv() => {
                leave.cancel();
                tokio::select! {
                    ended = running => ended,
                    () = signals.recv() => Ok(()),
                }
            }
        };
        ended.map_err(anyhow::Error::from)?;
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<(AgentConfig, Logs), Failure> {
        let logs = self.log.check(&mut problems);
        let server = problems.take("server", self.server);
        let server = server.and_then(|url| problems.take_checked("server", endpoint(&url.to_string())));
        let ready_url = self.proxy_ready_url.as_deref();
        let ready =
            ready_url.map(|url| problems.take_checked("proxy-ready-url", ProbeSpec::proxy_ready(url)));
        let statement = match self.dataplane_file {
            Some(path) => read_file(&path.into(), &mut problems),
            None => self.pod.read(&mut problems),
        };
        let (Some(logs), Some(server), Some(statement)) = (logs, server, statement) else {
            return Err(problems.into());
        };
        problems.finish()?;
        let Statement { dataplane, probes } = statement;
        let probes = Probes { proxy: ready.flatten(), inbounds: probes };
        Ok((AgentConfig { server, dataplane, probes }, logs))
    }
}

/// Who the agent speaks for, and how to find out how it is.
struct Statement {
    dataplane: Dataplane,
    /// One for each inbound, in their order.
    probes: Vec<Option<ProbeSpec>>,
}

fn read_file(file_arg: &DataplaneFileArg, problems: &mut Problems) -> Option<Statement> {
    let file = file_arg.read(problems)?;
    let dataplane = file_arg.take(file.dataplane(), problems)?;
    Some(Statement { dataplane, probes: file.probes })
}
