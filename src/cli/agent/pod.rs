//! Flags of `headcount agent` in a Kubernetes Pod.

use std::{num::NonZeroU32, path::PathBuf};

use clap::{ArgAction, Args};

use super::Proxy;
use crate::{
    agent::{InboundProbe, Pod, PodInbound, PodInfo, ProbeSpec, Thresholds},
    cli::{
        Parsed, Problems,
        args::{period::NonZeroPeriod, switch::Switch},
    },
    model::check_address,
};

/// Flags that replace the Dataplane file.
#[derive(Args, Debug)]
#[command(next_help_heading = "Kubernetes Pod, instead of --dataplane-file")]
pub(super) struct PodArgs {
    /// Application port and its probe: 8080 or 8080=tcp, 8080=/healthz, or 8080=none
    ///
    /// tcp opens a connection; a path is requested with GET and must return 2xx or 3xx;
    /// with none the inbound is ready when the proxy is. Separate ports by commas.
    #[arg(long, value_name = "PORT[=PROBE]", value_delimiter = ',', conflicts_with = "dataplane_file")]
    inbound: Vec<Parsed<PodInbound>>,
    /// The proxy is a gateway: there are no application ports
    #[arg(long, action = ArgAction::SetTrue)]
    gateway: Parsed<Switch>,
    /// Name of the Pod; becomes the name of the dataplane
    #[arg(long, value_name = "NAME", env = Pod::NAME)]
    pod_name: Option<String>,
    /// Namespace of the Pod
    #[arg(long, value_name = "NAMESPACE", env = Pod::NAMESPACE)]
    pod_namespace: Option<String>,
    /// IP address of the Pod; only displayed
    #[arg(long, value_name = "ADDRESS", env = Pod::IP)]
    pod_ip: Option<String>,
    /// Service account of the Pod; becomes the label k8s.kuma.io/service-account
    #[arg(long, value_name = "NAME", env = Pod::SERVICE_ACCOUNT)]
    service_account: Option<String>,
    /// Directory of the downward API volume with the files labels and annotations
    #[arg(long, value_name = "DIR", default_value = "/etc/podinfo")]
    podinfo_dir: PathBuf,
    /// Mesh of the dataplane; overrides the Pod's label or annotation kuma.io/mesh
    ///
    /// Without any of them the mesh is default.
    #[arg(long, value_name = "MESH")]
    mesh: Option<String>,
    /// Workload of the dataplane; overrides the Pod's annotation kuma.io/workload
    #[arg(long, value_name = "WORKLOAD")]
    workload: Option<String>,
    /// Zone of the dataplane; overrides the Pod's label kuma.io/zone
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// Host that is probed
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    probe_host: String,
    /// Time between the starts of two probes
    #[arg(long, value_name = "DURATION", default_value = "250ms")]
    probe_interval: Parsed<NonZeroPeriod>,
    /// Time after which a probe fails
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    probe_timeout: Parsed<NonZeroPeriod>,
    /// Consecutive failed probes until an inbound is not ready
    #[arg(long, value_name = "COUNT", default_value = "1")]
    probe_unhealthy_threshold: Parsed<NonZeroU32>,
    /// Consecutive passed probes until an inbound is ready again
    #[arg(long, value_name = "COUNT", default_value = "1")]
    probe_healthy_threshold: Parsed<NonZeroU32>,
}

impl PodArgs {
    /// Adds a problem if a flag contradicts `--dataplane-file`. clap does not check this, because a
    /// variable with the value `false` would be a contradiction too.
    pub(super) fn check_absent(self, problems: &mut Problems) {
        if problems.take("gateway", self.gateway).unwrap_or_default() == Switch(true) {
            problems
                .note("gateway", "can't be combined with --dataplane-file: the file describes the gateway");
        }
    }

    /// Returns the Pod's proxy; adds everything that is missing or invalid to `problems`.
    pub(super) fn read(self, problems: &mut Problems) -> Option<Proxy> {
        if self.pod_name.is_none() && self.pod_namespace.is_none() {
            problems.note_text(
                "--dataplane-file: is missing, and so are the settings that replace it in a Kubernetes Pod:",
            );
        }
        let text = Option::unwrap_or_default;
        let info = PodInfo::read(&self.podinfo_dir)
            .map_err(|error| problems.note("podinfo-dir", &format!("{:#}", anyhow::Error::from(error))));
        let Switch(gateway) = problems.take("gateway", self.gateway).unwrap_or_default();
        if gateway && !self.inbound.is_empty() {
            problems.note("gateway", "can't be combined with --inbound: a gateway has no application ports");
        }
        if self.inbound.is_empty() && !gateway {
            problems.note_text(
                "HEADCOUNT_INBOUND (--inbound): is missing: list the ports of the application, such as \
                 8080=/healthz; if the proxy is a gateway, set HEADCOUNT_GATEWAY=true (--gateway) instead",
            );
        }
        let inbounds: Vec<_> =
            self.inbound.into_iter().filter_map(|inbound| problems.take("inbound", inbound)).collect();
        let interval = problems.take("probe-interval", self.probe_interval);
        let timeout = problems.take("probe-timeout", self.probe_timeout);
        let healthy = problems.take("probe-healthy-threshold", self.probe_healthy_threshold);
        let unhealthy = problems.take("probe-unhealthy-threshold", self.probe_unhealthy_threshold);
        let checked = check_address("probe-host", &self.probe_host).map(|()| self.probe_host);
        let probe_host = problems.take_checked("probe-host", checked);
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
        let (dataplane, probe_host) = (dataplane.ok()?, probe_host?);
        let (interval, timeout) = (interval?.into(), timeout?.into());
        let thresholds = Thresholds { healthy: healthy?.get(), unhealthy: unhealthy?.get() };
        let probe = |PodInbound { port, handler }| match handler {
            None => InboundProbe::Proxy,
            Some(handler) => {
                let host = probe_host.clone();
                let probe = ProbeSpec { host, port, handler, interval, timeout, thresholds };
                InboundProbe::Applications(vec![probe])
            }
        };
        let inbounds = inbounds.into_iter().map(probe).collect();
        Some(Proxy { dataplane, inbounds, may_be_ready: true, warnings: Vec::new() })
    }
}
