//! Settings of the Kubernetes API.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::CertificateFiles;
use crate::model::{ApiGroup, LabelKey};

/// Settings of the Kubernetes API.
#[derive(Debug, Clone)]
pub struct KubeSettings {
    /// Address of the server; `None` switches it off. It is on by default, so that kubectl
    /// works where `headcount get` does; on loopback it exposes nothing that gRPC does not.
    pub addr: Option<SocketAddr>,
    /// TLS. Addresses other than loopback require it, with a front proxy.
    pub tls: Option<KubeTls>,
    /// API group of the resources. The default is Kuma's group. In a cluster that has Kuma's
    /// own resources it must be another one, because one server serves a whole version of a group there.
    pub group: ApiGroup,
    /// Open connections, at least 1. The default of 1,024 is one for each watch of a controller
    /// and some for its requests.
    pub max_connections: usize,
    /// As [`Limits::max_unauthenticated_connection_rate`](super::Limits), which is the same setting.
    pub max_unauthenticated_connection_rate: Option<usize>,
    /// Admission webhooks for Pods.
    pub admission: AdmissionSettings,
}

impl Default for KubeSettings {
    fn default() -> Self {
        Self {
            addr: Some(SocketAddr::from(([127, 0, 0, 1], 7102))),
            tls: None,
            group: ApiGroup::default(),
            max_connections: 1_024,
            max_unauthenticated_connection_rate: None,
            admission: AdmissionSettings::default(),
        }
    }
}

impl KubeSettings {
    /// Returns the front proxy, if one is configured.
    pub fn front_proxy(&self) -> Option<&FrontProxySettings> {
        self.tls.as_ref()?.front_proxy.as_ref()
    }
}

/// TLS of the Kubernetes API. The files are reloaded when they change.
#[derive(Debug, Clone)]
pub struct KubeTls {
    /// The server's certificate.
    pub files: CertificateFiles,
    /// The front proxy, which is then the only client. Without it every client is served.
    pub front_proxy: Option<FrontProxySettings>,
    /// Time between two checks of the files for changes; [`KubeTls::RELOAD_INTERVAL`] in
    /// production.
    pub reload_interval: Duration,
}

impl KubeTls {
    /// 5 s. Certificates are replaced days before they expire, and Kubernetes takes about a
    /// minute to update a Secret in a Pod, so this adds little.
    pub const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
}

/// The front proxy of an aggregated API: kube-apiserver, which has authenticated its own clients
/// and authorized their requests.
#[derive(Debug, Clone)]
pub struct FrontProxySettings {
    /// PEM file of the CA that issues its client certificate: Kubernetes'
    /// `requestheader-client-ca-file`.
    pub ca_file: PathBuf,
    /// Common names that its certificate may have; empty allows any. Kubernetes'
    /// `requestheader-allowed-names`.
    pub allowed_names: Vec<String>,
}

/// Settings of the admission webhooks for Pods.
#[derive(Debug, Clone, Default)]
pub struct AdmissionSettings {
    /// Labels of a Pod that name its workload; the first with a value counts. Kuma's
    /// `runtime.kubernetes.workloadLabels`. By default there are none and the `ServiceAccount`
    /// names the workload.
    pub workload_labels: Vec<LabelKey>,
    /// Rejects a Pod in a namespace that has dataplanes of another mesh: Kuma's
    /// `runtime.kubernetes.disallowMultipleMeshesPerNamespace`.
    pub one_mesh_per_namespace: bool,
}
