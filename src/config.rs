//! Settings of the control plane. Each default stands here with its reason.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{
    envoy::checks::CheckSettings,
    model::{ApiGroup, DataplaneLimits, LabelKey},
    registry::RegistrySettings,
};

/// Everything `headcount serve` can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where gRPC listens. Loopback: nothing is authenticated yet.
    pub grpc_addr: SocketAddr,
    /// Where HTTP (metrics, health) listens. Loopback for the same reason.
    pub http_addr: SocketAddr,
    /// Of the Kubernetes API.
    pub kube: KubeSettings,
    /// Where to write the addresses really bound, as JSON, once ready.
    pub addresses_file: Option<PathBuf>,
    /// How long a drain may take. 10 s is below the 30 s that Kubernetes gives
    /// a pod, and long enough for every stream to end by itself.
    pub drain_timeout: Duration,
    /// Of the registry.
    pub registry: RegistrySettings,
    /// Of the gRPC side.
    pub limits: Limits,
    /// What Envoys are asked to do.
    pub envoy: CheckSettings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc_addr: SocketAddr::from(([127, 0, 0, 1], 7100)),
            http_addr: SocketAddr::from(([127, 0, 0, 1], 7101)),
            kube: KubeSettings::default(),
            addresses_file: None,
            drain_timeout: Duration::from_secs(10),
            registry: RegistrySettings::default(),
            limits: Limits::default(),
            envoy: CheckSettings::default(),
        }
    }
}

/// Of the Kubernetes API.
#[derive(Debug, Clone)]
pub struct KubeSettings {
    /// Where it listens, if it does. It is there unless it is switched off, so
    /// that kubectl works as `headcount get` does: it is read only, it says what
    /// gRPC says without authentication too, and to this machine alone.
    pub addr: Option<SocketAddr>,
    /// Encrypts it, and lets other machines in.
    pub tls: Option<KubeTls>,
    /// The group of its resources. Kuma's own, as Kuma's documentation has it;
    /// beside Kuma's own resources in one cluster it must be another, because a
    /// group belongs to one server there.
    pub group: ApiGroup,
    /// Open connections: a watch each, and what a controller may ask beside.
    pub max_connections: usize,
    /// What admission webhooks go by.
    pub admission: AdmissionSettings,
}

impl KubeSettings {
    /// By what kube-apiserver is known, if it stands in front.
    pub fn front_proxy(&self) -> Option<&FrontProxySettings> {
        self.tls.as_ref()?.front_proxy.as_ref()
    }
}

/// TLS of the Kubernetes API. Files are read again when they change.
#[derive(Debug, Clone)]
pub struct KubeTls {
    /// The server's certificate and its issuers', in PEM.
    pub cert_file: PathBuf,
    /// The certificate's private key, in PEM.
    pub key_file: PathBuf,
    /// Who may ask; anybody, unless it says somebody.
    pub front_proxy: Option<FrontProxySettings>,
    /// From one look at the files to the next; see [`KubeTls::RELOAD_INTERVAL`].
    pub reload_interval: Duration,
}

impl KubeTls {
    /// Certificates are replaced days before their end, and Kubernetes takes a
    /// minute to bring a changed Secret to a Pod.
    pub const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
}

/// The one client of an API that is aggregated: kube-apiserver, which has
/// authenticated its own clients and authorized what they ask.
#[derive(Debug, Clone)]
pub struct FrontProxySettings {
    /// Who issues its client certificate, in PEM: Kubernetes'
    /// `requestheader-client-ca-file`.
    pub ca_file: PathBuf,
    /// Common names that its certificate may have, any if there are none:
    /// Kubernetes' `requestheader-allowed-names`.
    pub allowed_names: Vec<String>,
}

/// Of the admission webhooks for Pods.
#[derive(Debug, Clone, Default)]
pub struct AdmissionSettings {
    /// Labels of a Pod that name its workload; the first one that is not empty
    /// does. Kuma's `runtime.kubernetes.workloadLabels`, and none by default,
    /// which leaves it to the `ServiceAccount`.
    pub workload_labels: Vec<LabelKey>,
    /// Refuses a Pod in a namespace that has dataplanes of another mesh: Kuma's
    /// `runtime.kubernetes.disallowMultipleMeshesPerNamespace`.
    pub one_mesh_per_namespace: bool,
}

impl Default for KubeSettings {
    fn default() -> Self {
        Self {
            addr: Some(SocketAddr::from(([127, 0, 0, 1], 7102))),
            tls: None,
            group: ApiGroup::default(),
            max_connections: 1_024,
            admission: AdmissionSettings::default(),
        }
    }
}

/// What a client may cost.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one incoming message. A hello with 64 long labels and 64 inbounds
    /// with a handful of tags each is below 64 KiB.
    pub max_message_bytes: usize,
    /// The same of an Envoy, whose first message lists all of its 516 extensions:
    /// four times the 60 KiB that it has of its own, for its metadata.
    pub max_envoy_message_bytes: usize,
    /// Labels and inbounds of a dataplane.
    pub dataplane: DataplaneLimits,
    /// From the opening of a stream to its hello; also from a connection to its
    /// HTTP/2 preface. 5 s is many round trips on any network.
    pub hello_timeout: Duration,
    /// Silence of an open session. Ten times the agent's 30 s between full
    /// statements: whoever is silent for so long has a health nobody vouches for.
    pub idle_timeout: Duration,
    /// Between HTTP/2 PINGs. With the timeout a dead peer is noticed within 9 s,
    /// below the 10 s that we promise.
    pub keepalive_interval: Duration,
    /// For the answer to a PING.
    pub keepalive_timeout: Duration,
    /// Open streams of one connection: a node's worth of proxies behind one
    /// multiplexer, ten times over.
    pub max_streams_per_connection: u32,
    /// Open connections: one for each session that the registry takes.
    pub max_connections: usize,
    /// What one connection may make HTTP/2 do and hold.
    pub http2: Http2Limits,
}

/// Bounds of one HTTP/2 connection. Whoever passes the last three breaks the
/// protocol or floods, and is cut with `ENHANCE_YOUR_CALM`.
#[derive(Debug, Clone)]
pub struct Http2Limits {
    /// Bytes that a client may send ahead on one stream: the largest message.
    pub stream_window: u32,
    /// Bytes that it may send ahead on all streams of a connection: a thousand
    /// proxies behind one multiplexer report at once in a tenth of that.
    pub connection_window: u32,
    /// Bytes that wait on one stream for a client to read them, beyond which
    /// nothing is made ready for it.
    pub send_buffer: usize,
    /// Bytes of a request's headers, of which ours have some hundred; HPACK and
    /// CONTINUATION frames make them out of almost nothing (CVE-2024-27316).
    pub max_header_bytes: u32,
    /// Streams that were opened and reset before we looked at them: "rapid
    /// reset" (CVE-2023-44487). An honest client gives up one now and then.
    pub max_pending_resets: usize,
    /// Streams that we had to reset for the client's errors, in a connection's
    /// life (CVE-2025-8671). Honest ones come when a client still sends on
    /// streams that we have ended: one for each stream it may have. tonic has
    /// no limit unless it is given one.
    pub max_error_resets: usize,
}

impl Default for Http2Limits {
    fn default() -> Self {
        Self {
            stream_window: 64 * 1024,
            connection_window: 1024 * 1024,
            send_buffer: 64 * 1024,
            max_header_bytes: 16 * 1024,
            max_pending_resets: 20,
            max_error_resets: 1_024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 * 1024,
            max_envoy_message_bytes: 256 * 1024,
            dataplane: DataplaneLimits::default(),
            hello_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(5),
            keepalive_interval: Duration::from_millis(6_500),
            keepalive_timeout: Duration::from_secs(2),
            max_streams_per_connection: 1_024,
            max_connections: 100_000,
            http2: Http2Limits::default(),
        }
    }
}
