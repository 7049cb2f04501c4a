//! Flags of `headcount serve` that limit what clients may use.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;

use super::{count, period};
use crate::{
    agent::REPORT_INTERVAL,
    cli::{
        Parsed, Problems,
        args::period::{NonZeroPeriod, Period},
    },
    config::{Http2Limits, Limits},
    model::{DataplaneLimits, Health},
    registry::RegistrySettings,
};

/// The largest number of permits of a semaphore, of which each watch of the Kubernetes API takes one.
pub(super) const MAX_CONNECTIONS: usize = tokio::sync::Semaphore::MAX_PERMITS;
/// The largest flow-control window of HTTP/2 (RFC 9113, section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// The memory of several dataplanes of the largest size. With a lower limit a valid dataplane
/// might never fit.
const MIN_REGISTERED_BYTES: usize = 1024 * 1024;
/// With a lower limit, normal clients would be rejected.
const MIN_HEADER_BYTES: u32 = 1_024;

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Registered dataplanes, connected or lost
    ///
    /// At the limit a new dataplane replaces the one that was lost first. If none is lost,
    /// the new one is rejected with `RESOURCE_EXHAUSTED` and a retry delay.
    #[arg(long, value_name = "COUNT", default_value = "200000")]
    max_dataplanes: Parsed<NonZeroUsize>,
    /// Memory of all registered dataplanes, at least 1048576 bytes
    ///
    /// The server computes the size of each from its hello: about 3 KiB for a dataplane with
    /// ten labels and an inbound. At the limit a new dataplane replaces those that were lost
    /// first. If it still does not fit, it is rejected with `RESOURCE_EXHAUSTED` and a retry
    /// delay.
    #[arg(long, value_name = "BYTES", default_value = "536870912")]
    max_registered_bytes: Parsed<NonZeroUsize>,
    /// Memory of the registered dataplanes of one mesh, at least 1048576 bytes
    ///
    /// At the limit a new dataplane replaces those of its mesh that were lost first.
    #[arg(long, value_name = "BYTES", default_value = "268435456")]
    max_registered_bytes_per_mesh: Parsed<NonZeroUsize>,
    /// Connected dataplanes; further ones are rejected
    ///
    /// A rejected dataplane gets `RESOURCE_EXHAUSTED` with a retry delay.
    #[arg(long, value_name = "COUNT", default_value = "100000")]
    max_sessions: Parsed<NonZeroUsize>,
    /// Connected dataplanes of one mesh; further ones are rejected
    ///
    /// A rejected dataplane gets `RESOURCE_EXHAUSTED` with a retry delay.
    #[arg(long, value_name = "COUNT", default_value = "50000")]
    max_sessions_per_mesh: Parsed<NonZeroUsize>,
    /// New sessions per second, with a burst of the same size; further ones are rejected
    ///
    /// A rejected dataplane gets `RESOURCE_EXHAUSTED` with a retry delay, which spreads the
    /// retries over the time that the rate needs. Half of the burst is reserved for
    /// dataplanes that are already registered. A tenth of the rate limits the invalid hellos of
    /// one address.
    #[arg(long, value_name = "COUNT", default_value = "5000")]
    max_session_rate: Parsed<NonZeroUsize>,
    /// Open watches and waits, of gRPC and the Kubernetes API together; further ones are rejected
    ///
    /// gRPC answers `RESOURCE_EXHAUSTED`, the Kubernetes API 429, both with a retry delay.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    max_watchers: Parsed<NonZeroUsize>,
    /// The most that one client may use of these limits, in percent: 1 to 100
    ///
    /// Of --max-sessions, --max-dataplanes, --max-registered-bytes, --max-watchers, and of the watches
    /// that --max-kube-connections allows. A client is a token, a certificate's dataplane, a user, and
    /// likewise an address other than loopback (of IPv6 a /64 network). Its further dataplanes and
    /// watches are rejected.
    #[arg(long, value_name = "PERCENT", default_value = "50")]
    max_client_share: Parsed<NonZeroUsize>,
    /// Workloads that the dataplanes of one client name, counted in each mesh
    ///
    /// A dataplane that names one more is rejected.
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    max_workloads_per_client: Parsed<NonZeroUsize>,
    /// Open gRPC connections
    ///
    /// At the limit, a new connection replaces the one that has been without a call for the longest
    /// time; if there is none, the new one is closed at once. Lowered at start if the process may
    /// not open as many files (ulimit -n).
    #[arg(long, value_name = "COUNT", default_value = "100000")]
    max_connections: Parsed<NonZeroUsize>,
    /// Open gRPC connections from one address [default: half of --max-connections]
    ///
    /// At the limit, a new connection replaces one of the address that is without a call; if there
    /// is none, the new one is closed at once. An IPv6 address counts as its /64 network. Without
    /// the flag, connections from loopback are not limited, because they all have one address.
    #[arg(long, value_name = "COUNT")]
    max_connections_per_address: Option<Parsed<NonZeroUsize>>,
    /// Connections per second from one address without an authenticated request [default: 100]
    ///
    /// On each listener. Ten times as many may end at once, such as failed TLS handshakes; further
    /// connections of the address are closed before their handshake until the rate is kept again. Ten
    /// open connections of authenticated clients raise the rate of their address by one. An IPv6 address
    /// counts as its /64 network. Without the flag, loopback is not limited.
    #[arg(long, value_name = "COUNT")]
    max_unauthenticated_connection_rate: Option<Parsed<NonZeroUsize>>,
    /// Longest time that a gRPC connection may be without a call before it is closed
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    max_connection_idle: Parsed<NonZeroPeriod>,
    /// Longest age of a gRPC connection, varied by 10%; 0s means no limit
    ///
    /// At this age the server ends the sessions and watches of the connection, and their clients
    /// reconnect. Behind a load balancer this also ends the watches of clients that are gone.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    max_connection_age: Parsed<Period>,
    /// Longest time for the calls of a gRPC connection to end once it has reached its maximum age
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    max_connection_age_grace: Parsed<NonZeroPeriod>,
    /// Open HTTP/2 streams of one gRPC connection; further ones are refused
    #[arg(long, value_name = "COUNT", default_value = "1024")]
    max_streams_per_connection: Parsed<NonZeroU32>,
    /// Bytes of one incoming message; a larger one ends its call with an error
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    max_message_bytes: Parsed<NonZeroUsize>,
    /// Bytes of one incoming message of an Envoy; a larger one ends its stream with an error
    ///
    /// The first message of an Envoy lists its extensions in about 60 KiB.
    #[arg(long, value_name = "BYTES", default_value = "262144")]
    max_envoy_message_bytes: Parsed<NonZeroUsize>,
    /// Labels of a dataplane, and tags of one of its inbounds
    ///
    /// A dataplane with more is rejected. All its inbounds together have at most 512 tags.
    #[arg(long, value_name = "COUNT", default_value = "64")]
    max_labels: Parsed<NonZeroUsize>,
    /// Inbounds of a dataplane, at most 64; a dataplane with more is rejected
    #[arg(long, value_name = "COUNT", default_value = "64")]
    max_inbounds: Parsed<NonZeroUsize>,
    /// Longest time from a connection to its HTTP/2 preface, and from a session to its hello
    ///
    /// Also for the request of any other call to arrive.
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    hello_timeout: Parsed<NonZeroPeriod>,
    /// Longest time without a report before a session without heartbeats is lost; more than 30s
    ///
    /// Clients report at least every 30s.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    idle_timeout: Parsed<NonZeroPeriod>,
    /// Time without data from a client until the server sends an HTTP/2 PING
    #[arg(long, value_name = "DURATION", default_value = "6500ms")]
    keepalive_interval: Parsed<NonZeroPeriod>,
    /// Longest time for the acknowledgement of a PING before the connection is closed
    ///
    /// Also the longest delay of a heartbeat before a session is lost, if it is more than
    /// 1s. A client that stops responding is detected within this time and the interval;
    /// agents send a heartbeat every 6s.
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    keepalive_timeout: Parsed<NonZeroPeriod>,
    /// HTTP/2 flow-control window of one stream, at most 2147483647 (2^31 - 1)
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    stream_window_bytes: Parsed<NonZeroU32>,
    /// HTTP/2 flow-control window of one connection, at most 2147483647 (2^31 - 1)
    #[arg(long, value_name = "BYTES", default_value = "1048576")]
    connection_window_bytes: Parsed<NonZeroU32>,
    /// Bytes buffered for one stream until the client reads them, at most 4294967295
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    send_buffer_bytes: Parsed<NonZeroUsize>,
    /// Bytes of one request's headers, at least 1024; larger ones are rejected
    #[arg(long, value_name = "BYTES", default_value = "16384")]
    max_header_bytes: Parsed<NonZeroU32>,
    /// Streams of one connection that the client has reset before the server accepted them
    ///
    /// Above the limit the connection is closed ("rapid reset", CVE-2023-44487).
    #[arg(long, value_name = "COUNT", default_value = "20")]
    max_pending_resets: Parsed<NonZeroUsize>,
    /// Streams of one connection that the server has reset because of client errors
    ///
    /// Above the limit the connection is closed (CVE-2025-8671).
    #[arg(long, value_name = "COUNT", default_value = "1024")]
    max_error_resets: Parsed<NonZeroUsize>,
}

impl LimitArgs {
    /// Returns the limits of gRPC and those of the registry; adds invalid flags to `problems`.
    pub(super) fn check(self, problems: &mut Problems) -> (Limits, RegistrySettings) {
        let registry = RegistrySettings {
            max_dataplanes: count(problems, "max-dataplanes", self.max_dataplanes),
            max_registered_bytes: registered_bytes(
                problems,
                "max-registered-bytes",
                self.max_registered_bytes,
            ),
            max_registered_bytes_per_mesh: registered_bytes(
                problems,
                "max-registered-bytes-per-mesh",
                self.max_registered_bytes_per_mesh,
            ),
            max_sessions: count(problems, "max-sessions", self.max_sessions),
            max_sessions_per_mesh: count(problems, "max-sessions-per-mesh", self.max_sessions_per_mesh),
            max_watchers: count(problems, "max-watchers", self.max_watchers),
            max_client_share: client_share(problems, self.max_client_share),
            max_workloads_per_client: count(
                problems,
                "max-workloads-per-client",
                self.max_workloads_per_client,
            ),
            max_session_rate: count(problems, "max-session-rate", self.max_session_rate),
            ..RegistrySettings::default()
        };
        let http2 = Http2Limits {
            stream_window: window(problems, "stream-window-bytes", self.stream_window_bytes),
            connection_window: window(problems, "connection-window-bytes", self.connection_window_bytes),
            send_buffer: send_buffer(problems, self.send_buffer_bytes),
            max_header_bytes: header_bytes(problems, self.max_header_bytes),
            max_pending_resets: count(problems, "max-pending-resets", self.max_pending_resets),
            max_error_resets: count(problems, "max-error-resets", self.max_error_resets),
        };
        let streams = count_u32(problems, "max-streams-per-connection", self.max_streams_per_connection);
        let limits = Limits {
            max_message_bytes: count(problems, "max-message-bytes", self.max_message_bytes),
            max_envoy_message_bytes: count(problems, "max-envoy-message-bytes", self.max_envoy_message_bytes),
            dataplane: DataplaneLimits {
                labels: count(problems, "max-labels", self.max_labels),
                inbounds: count(problems, "max-inbounds", self.max_inbounds),
                ..DataplaneLimits::default()
            },
            hello_timeout: period(problems, "hello-timeout", self.hello_timeout),
            idle_timeout: period(problems, "idle-timeout", self.idle_timeout),
            keepalive_interval: period(problems, "keepalive-interval", self.keepalive_interval),
            keepalive_timeout: period(problems, "keepalive-timeout", self.keepalive_timeout),
            max_streams_per_connection: streams,
            max_connections: count(problems, "max-connections", self.max_connections),
            max_connections_per_address: problems
                .take_optional("max-connections-per-address", self.max_connections_per_address)
                .map(NonZeroUsize::get),
            max_unauthenticated_connection_rate: problems
                .take_optional(
                    "max-unauthenticated-connection-rate",
                    self.max_unauthenticated_connection_rate,
                )
                .map(NonZeroUsize::get),
            max_connection_idle: period(problems, "max-connection-idle", self.max_connection_idle),
            max_connection_age: Some(period(problems, "max-connection-age", self.max_connection_age))
                .filter(|age| !age.is_zero()),
            max_connection_age_grace: period(
                problems,
                "max-connection-age-grace",
                self.max_connection_age_grace,
            ),
            http2,
        };
        check_ranges(&limits, problems);
        (limits, registry)
    }
}

fn check_ranges(limits: &Limits, problems: &mut Problems) {
    let inbounds = limits.dataplane.inbounds;
    if inbounds > Health::MAX_INBOUNDS {
        let most = Health::MAX_INBOUNDS;
        problems.note("max-inbounds", &format!("\"{inbounds}\": must be {most} or less"));
    }
    if limits.idle_timeout <= REPORT_INTERVAL {
        let problem = format!("must be more than {REPORT_INTERVAL:?}, the interval at which agents report");
        problems.note("idle-timeout", &problem);
    }
    if limits.max_connections > MAX_CONNECTIONS {
        problems.note("max-connections", &format!("must be {MAX_CONNECTIONS} or less"));
    }
}

fn count_u32(problems: &mut Problems, name: &str, value: Parsed<NonZeroU32>) -> u32 {
    problems.take(name, value).map_or(1, NonZeroU32::get)
}

fn window(problems: &mut Problems, name: &str, value: Parsed<NonZeroU32>) -> u32 {
    let window = count_u32(problems, name, value);
    if window > MAX_WINDOW {
        problems.note(name, &format!("\"{window}\": must be {MAX_WINDOW} or less"));
    }
    window
}

/// HTTP/2 implementations count a stream's buffer in 32 bits.
fn send_buffer(problems: &mut Problems, value: Parsed<NonZeroUsize>) -> usize {
    let bytes = count(problems, "send-buffer-bytes", value);
    if u32::try_from(bytes).is_err() {
        problems.note("send-buffer-bytes", &format!("\"{bytes}\": must be {} or less", u32::MAX));
    }
    bytes
}

fn registered_bytes(problems: &mut Problems, name: &str, value: Parsed<NonZeroUsize>) -> usize {
    let Some(bytes) = problems.take(name, value).map(NonZeroUsize::get) else {
        return MIN_REGISTERED_BYTES;
    };
    if bytes < MIN_REGISTERED_BYTES {
        problems.note(name, &format!("\"{bytes}\": must be {MIN_REGISTERED_BYTES} or more"));
    }
    bytes
}

fn client_share(problems: &mut Problems, value: Parsed<NonZeroUsize>) -> usize {
    let percent = count(problems, "max-client-share", value);
    if percent > 100 {
        problems.note("max-client-share", &format!("\"{percent}\": must be 100 or less"));
    }
    percent
}

fn header_bytes(problems: &mut Problems, value: Parsed<NonZeroU32>) -> u32 {
    let Some(bytes) = problems.take("max-header-bytes", value).map(NonZeroU32::get) else {
        return MIN_HEADER_BYTES;
    };
    if bytes < MIN_HEADER_BYTES {
        problems.note("max-header-bytes", &format!("\"{bytes}\": must be {MIN_HEADER_BYTES} or more"));
    }
    bytes
}
