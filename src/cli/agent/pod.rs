//! What the agent is told in a Kubernetes Pod.

use std::{num::NonZeroU32, path::PathBuf};

use clap::Args;

use super::Statement;
use crate::{
    agent::{Pod, PodInbound, PodInfo, ProbeSpec, Thresholds},
    cli::{Parsed, Problems, args::period::NonZeroPeriod},
};

/// In the place of a Dataplane file.
#[derive(Args, Debug)]
#[command(next_help_heading = "In a Kubernetes Pod, without --dataplane-file")]
pub(super) struct PodArgs {
    /// A port of the application, probed by TCP; 8080=/healthz is probed by a
    /// GET of that path, 8080=none is as ready as the proxy
    #[arg(long, value_name = "PORT[=PROBE]", value_delimiter = ',', conflicts_with = "dataplane_file")]
    inbound: Vec<Parsed<PodInbound>>,
    /// The Pod has no application to probe: its proxy is a gateway
    #[arg(long, conflicts_with_all = ["dataplane_file", "inbound"])]
    gateway: bool,
    /// The Pod's name
    #[arg(long, value_name = "NAME", env = Pod::NAME)]
    pod_name: Option<String>,
    /// The Pod's namespace
    #[arg(long, value_name = "NAMESPACE", env = Pod::NAMESPACE)]
    pod_namespace: Option<String>,
    /// The Pod's address, for people
    #[arg(long, value_name = "ADDRESS", env = Pod::IP)]
    pod_ip: Option<String>,
    /// The Pod's `ServiceAccount`
    #[arg(long, value_name = "NAME", env = Pod::SERVICE_ACCOUNT)]
    service_account: Option<String>,
    /// Where the downward API puts the files `labels` and `annotations`
    #[arg(long, value_name = "DIR", default_value = "/etc/podinfo")]
    podinfo_dir: PathBuf,
    /// The mesh, if it is not the one of the Pod's label or annotation
    /// kuma.io/mesh, or else `default`
    #[arg(long, value_name = "MESH")]
    mesh: Option<String>,
    /// The workload, if it is not the one of the Pod's annotation kuma.io/workload
    #[arg(long, value_name = "WORKLOAD")]
    workload: Option<String>,
    /// The zone, if it is not the one of the Pod's label kuma.io/zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Where the application listens
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    probe_host: String,
    /// From the start of one probe to the start of the next
    #[arg(long, value_name = "TIME", default_value = "1s")]
    probe_interval: Parsed<NonZeroPeriod>,
    /// After which a probe has failed
    #[arg(long, value_name = "TIME", default_value = "2s")]
    probe_timeout: Parsed<NonZeroPeriod>,
    /// Probes that fail in a row until an inbound is not ready
    #[arg(long, value_name = "COUNT", default_value = "1")]
    probe_unhealthy_threshold: Parsed<NonZeroU32>,
    /// Probes that pass in a row until it is ready again
    #[arg(long, value_name = "COUNT", default_value = "1")]
    probe_healthy_threshold: Parsed<NonZeroU32>,
}

impl PodArgs {
    /// Puts together what the manifest says, or notes all that is missing.
    pub(super) fn read(self, problems: &mut Problems) -> Option<Statement> {
        if self.pod_name.is_none() && self.pod_namespace.is_none() {
            problems.note_text(
                "--dataplane-file: is missing, and so is what the manifest of a Pod says in its place:",
            );
        }
        let text = Option::unwrap_or_default;
        let info = PodInfo::read(&self.podinfo_dir)
            .map_err(|error| problems.note("podinfo-dir", &format!("{:#}", anyhow::Error::from(error))));
        if self.inbound.is_empty() && !self.gateway {
            problems.note_text(
                "HEADCOUNT_INBOUND (--inbound): is missing: it lists the ports of the application, such as \
                 8080=/healthz; a proxy before no application has HEADCOUNT_GATEWAY=true (--gateway)",
            );
        }
        let inbounds: Vec<_> =
            self.inbound.into_iter().filter_map(|inbound| problems.take("inbound", inbound)).collect();
        let interval = problems.take("probe-interval", self.probe_interval);
        let timeout = problems.take("probe-timeout", self.probe_timeout);
        let healthy = problems.take("probe-healthy-threshold", self.probe_healthy_threshold);
        let unhealthy = problems.take("probe-unhealthy-threshold", self.probe_unhealthy_threshold);
        let pod = Pod {
            name: text(self.pod_name),
            namespace: text(self.pod_namespace),
            ip: text(self.pod_ip),
            service_account: text(self.service_account),
            mesh: text(self.mesh),
            workload: text(self.workload),
            zone: text(self.zone),
            info: info.ok()?,
            inbounds: inbounds.iter().map(|inbound| inbound.port).collect(),
        };
        let dataplane = pod.dataplane().map_err(|invalid| {
            for invalid in invalid {
                problems.note_text(invalid.to_string());
            }
        });
        let (dataplane, interval, timeout) = (dataplane.ok()?, interval?.into(), timeout?.into());
        let thresholds = Thresholds { healthy: healthy?.get(), unhealthy: unhealthy?.get() };
        let probe = |PodInbound { port, check }| {
            let host = self.probe_host.clone();
            Some(ProbeSpec { host, port, check: check?, interval, timeout, thresholds })
        };
        Some(Statement { dataplane, probes: inbounds.into_iter().map(probe).collect() })
    }
}
