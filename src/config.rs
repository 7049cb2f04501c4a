//! Settings of the control plane, each with its default and the reason for it.
//!
//! The command line checks the ranges that are given here.

mod kube;
mod limits;
mod tls;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

pub use self::{
    kube::{AdmissionSettings, FrontProxySettings, KubeSettings, KubeTls},
    limits::{Http2Limits, Limits},
    tls::{CertificateFiles, TlsSettings},
};
use crate::{envoy::checks::CheckSettings, registry::RegistrySettings};

/// All settings of `headcount serve`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address of the gRPC server. On loopback by default, where callers need no credential.
    pub grpc_addr: SocketAddr,
    /// Address of the HTTP server (metrics, health). On loopback for the same reason.
    pub http_addr: SocketAddr,
    /// TLS of the gRPC and the HTTP server.
    pub tls: TlsSettings,
    /// Whether a client without a credential may read the metrics at an address other than
    /// loopback. They name the Workloads of all meshes and namespaces, so it is off by default.
    pub insecure_anonymous_metrics: bool,
    /// The Kubernetes API.
    pub kube: KubeSettings,
    /// File that the bound addresses are written to as JSON, once the server is ready.
    pub addresses_file: Option<PathBuf>,
    /// Directory of the registrations and resources, which a restart restores. Without one they
    /// are in memory.
    pub data_dir: Option<PathBuf>,
    /// YAML file of roles, and of the client certificates of dataplanes. It is reloaded when it
    /// changes. Without one no user has a role.
    pub access_file: Option<PathBuf>,
    /// File that the audit log is appended to; `-` is standard output. Without one there is no audit
    /// log.
    pub audit_log: Option<PathBuf>,
    /// Longest time after a restart in which dataplanes that were connected before are expected
    /// back. Agents reconnect within 10 s; a large fleet takes some 20 s more to be admitted.
    pub warming_timeout: Duration,
    /// Longest time for a drain, after which connections are closed; above 0 s. The default of 10 s is
    /// below the 30 s that Kubernetes gives a Pod, and long enough for every stream to end
    /// gracefully.
    pub drain_timeout: Duration,
    /// The registry.
    pub registry: RegistrySettings,
    /// Limits of gRPC clients.
    pub limits: Limits,
    /// Health checks that Envoys are asked to perform.
    pub envoy: CheckSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc_addr: SocketAddr::from(([127, 0, 0, 1], 7100)),
            http_addr: SocketAddr::from(([127, 0, 0, 1], 7101)),
            tls: TlsSettings::default(),
            insecure_anonymous_metrics: false,
            kube: KubeSettings::default(),
            addresses_file: None,
            data_dir: None,
            access_file: None,
            audit_log: None,
            warming_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            registry: RegistrySettings::default(),
            limits: Limits::default(),
            envoy: CheckSettings::default(),
        }
    }
}
