//! `headcount agent`: the sidecar of a proxy.

mod pod;

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::pod::PodArgs;
use super::{
    Failure, Outcome, Problems,
    args::{
        dataplane_file::DataplaneFileArg,
        log::{LogArgs, LogSettings},
        server::EndpointArgs,
    },
};
use crate::{
    agent::{self, AgentConfig, InboundProbe, ProbeSpec, Probes},
    model::Dataplane,
    runtime::signals::ShutdownSignals,
};

/// Register one dataplane proxy and report its health
///
/// The agent reads the proxy's Kuma Dataplane resource, probes each inbound that has a
/// serviceProbe, and reports health to the server: each change at once, and the whole
/// health every 30s. It reconnects when the connection is lost. On SIGTERM, SIGQUIT or
/// Ctrl-C it unregisters the dataplane and exits with 0.
///
/// In a Kubernetes Pod it needs no file. It takes the Pod's name and namespace from
/// environment variables, its labels and annotations from a downward API volume, and
/// the application's ports from --inbound.
///
/// The token, certificate and CA files are read again for each connection. While a session
/// is open, the agent reads the token file each minute or more often and sends a token that
/// has changed, so that the session outlives the token that opened it. If the server denies
/// access, the agent retries with the files that are then there.
///
/// It exits with 2 if a retry would not help: the server rejects the dataplane, or a
/// newer agent has taken over its session. If the server holds it off because another
/// agent of the dataplane is connected, it retries until that one has left.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount agent --dataplane-file examples/dataplanes/demo-workload.yaml
  headcount agent --dataplane-file dp.yaml --proxy-ready-url http://127.0.0.1:9901/ready
  headcount agent --dataplane-file dp.yaml --server headcount.mesh.svc:7100
  headcount agent --dataplane-file dp.yaml --server https://headcount.mesh.svc:7100 \\
      --ca-file ca.crt --token-file /var/run/secrets/headcount/token
  POD_NAME=web-0 POD_NAMESPACE=shop headcount agent --workload web --inbound 8080=/healthz")]
pub(super) struct AgentArgs {
    /// YAML file with the Kuma Dataplane resource of the proxy
    #[arg(long, value_name = "FILE")]
    dataplane_file: Option<PathBuf>,
    /// Readiness URL of the proxy, such as Envoy's <http://127.0.0.1:9901/ready>
    ///
    /// The agent requests it every 250 ms; a 2xx or 3xx response means that the proxy is
    /// ready. Without this flag the proxy always counts as ready.
    #[arg(long, value_name = "URL")]
    proxy_ready_url: Option<String>,
    #[command(flatten)]
    pod: PodArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl AgentArgs {
    /// Runs until a signal ends the process, or until a retry would not help.
    pub(super) async fn run(self, problems: Problems) -> Result<Outcome, Failure> {
        let Checked { config, log, warnings } = self.check(problems)?;
        let _logs = log.start();
        for warning in warnings {
            warn!("{warning}");
        }
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

    fn check(self, mut problems: Problems) -> Result<Checked, Failure> {
        let log = self.log.check(&mut problems);
        let server = self.endpoint.check(&mut problems).map(|(_, endpoint)| endpoint);
        let ready_url = self.proxy_ready_url.as_deref();
        let proxy_probe =
            ready_url.map(|url| problems.take_checked("proxy-ready-url", ProbeSpec::proxy_ready(url)));
        let proxy = match self.dataplane_file {
            Some(path) => {
                self.pod.check_absent(&mut problems);
                read_file(&path.into(), &mut problems)
            }
            None => self.pod.read(&mut problems),
        };
        let (Some(log), Some(server), Some(proxy)) = (log, server, proxy) else {
            return Err(problems.into());
        };
        problems.finish()?;
        let Proxy { dataplane, inbounds, may_be_ready, warnings } = proxy;
        let probes = Probes { proxy: proxy_probe.flatten(), proxy_not_ready: !may_be_ready, inbounds };
        Ok(Checked { config: AgentConfig { server, dataplane, probes }, log, warnings })
    }
}

/// Valid arguments.
struct Checked {
    config: AgentConfig,
    log: LogSettings,
    warnings: Vec<String>,
}

/// The proxy that the agent registers.
struct Proxy {
    dataplane: Dataplane,
    /// One for each inbound, in the same order.
    inbounds: Vec<InboundProbe>,
    /// False if the file states that the proxy is not ready.
    may_be_ready: bool,
    /// About keys of the file that are not used, with its path.
    warnings: Vec<String>,
}

fn read_file(file_arg: &DataplaneFileArg, problems: &mut Problems) -> Option<Proxy> {
    let file = file_arg.read(problems)?;
    let dataplane = file_arg.take(file.dataplane(), problems)?;
    Some(Proxy {
        dataplane,
        inbounds: file.inbound_probes(),
        may_be_ready: file.proxy_may_be_ready,
        warnings: file_arg.warnings(&file),
    })
}
