//! The flags that say how much of everything there may be.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;

use super::{count, period};
use crate::{
    agent::REPORT_INTERVAL,
    cli::{Parsed, Problems, args::period::NonZeroPeriod},
    config::{Http2Limits, Limits},
    model::{DataplaneLimits, Health},
    registry::RegistrySettings,
};

/// What a semaphore can count.
const MOST_CONNECTIONS: usize = tokio::sync::Semaphore::MAX_PERMITS;
/// The largest of HTTP/2's windows (RFC 9113, section 6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// With less, honest clients would be refused.
const LEAST_HEADER_BYTES: u32 = 1_024;

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Registered dataplanes, connected or not
    #[arg(long, value_name = "COUNT", default_value = "200000")]
    max_dataplanes: Parsed<NonZeroUsize>,
    /// Connected dataplanes
    #[arg(long, value_name = "COUNT", default_value = "100000")]
    max_sessions: Parsed<NonZeroUsize>,
    /// Connected dataplanes of one mesh
    #[arg(long, value_name = "COUNT", default_value = "50000")]
    max_sessions_per_mesh: Parsed<NonZeroUsize>,
    /// New sessions in a second, and as many at once after a quiet time
    #[arg(long, value_name = "COUNT", default_value = "5000")]
    max_session_rate: Parsed<NonZeroUsize>,
    /// Watch streams
    #[arg(long, value_name = "COUNT", default_value = "10000")]
    max_watchers: Parsed<NonZeroUsize>,
    /// Open gRPC connections
    #[arg(long, value_name = "COUNT", default_value = "100000")]
    max_connections: Parsed<NonZeroUsize>,
    /// Open streams of one connection
    #[arg(long, value_name = "COUNT", default_value = "1024")]
    max_streams_per_connection: Parsed<NonZeroU32>,
    /// Bytes of one incoming message
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    max_message_bytes: Parsed<NonZeroUsize>,
    /// The same of an Envoy, which lists 60 KiB of extensions in its first one
    #[arg(long, value_name = "BYTES", default_value = "262144")]
    max_envoy_message_bytes: Parsed<NonZeroUsize>,
    /// Labels of a dataplane, and tags of an inbound
    #[arg(long, value_name = "COUNT", default_value = "64")]
    max_labels: Parsed<NonZeroUsize>,
    /// Inbounds of a dataplane, at most 64
    #[arg(long, value_name = "COUNT", default_value = "64")]
    max_inbounds: Parsed<NonZeroUsize>,
    /// Time for a new connection to speak HTTP/2, and for a new session to say hello
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    hello_timeout: Parsed<NonZeroPeriod>,
    /// Silence of a session after which it is ended; agents report every 30s
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    idle_timeout: Parsed<NonZeroPeriod>,
    /// Time between HTTP/2 PINGs to a client
    #[arg(long, value_name = "DURATION", default_value = "6500ms")]
    keepalive_interval: Parsed<NonZeroPeriod>,
    /// Time for the answer to a PING before the client counts as dead
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    keepalive_timeout: Parsed<NonZeroPeriod>,
    /// Bytes that a client may send ahead on one stream
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    stream_window_bytes: Parsed<NonZeroU32>,
    /// Bytes that a client may send ahead on one connection
    #[arg(long, value_name = "BYTES", default_value = "1048576")]
    connection_window_bytes: Parsed<NonZeroU32>,
    /// Bytes that may wait on one stream for the client to read them
    #[arg(long, value_name = "BYTES", default_value = "65536")]
    send_buffer_bytes: Parsed<NonZeroUsize>,
    /// Bytes of one request's headers, at least 1024
    #[arg(long, value_name = "BYTES", default_value = "16384")]
    max_header_bytes: Parsed<NonZeroU32>,
    /// Streams that a connection may have opened and reset before they are looked at
    #[arg(long, value_name = "COUNT", default_value = "20")]
    max_pending_resets: Parsed<NonZeroUsize>,
    /// Streams of a connection that may have to be reset for the client's errors
    #[arg(long, value_name = "COUNT", default_value = "1024")]
    max_error_resets: Parsed<NonZeroUsize>,
}

impl LimitArgs {
    /// Those of connections and messages, and those of the registry.
    pub(super) fn check(self, of: &mut Problems) -> (Limits, RegistrySettings) {
        let registry = RegistrySettings {
            max_dataplanes: count(of, "max-dataplanes", self.max_dataplanes),
            max_sessions: count(of, "max-sessions", self.max_sessions),
            max_sessions_per_mesh: count(of, "max-sessions-per-mesh", self.max_sessions_per_mesh),
            max_watchers: count(of, "max-watchers", self.max_watchers),
            max_session_rate: count(of, "max-session-rate", self.max_session_rate),
            ..RegistrySettings::default()
        };
        let http2 = Http2Limits {
            stream_window: window(of, "stream-window-bytes", self.stream_window_bytes),
            connection_window: window(of, "connection-window-bytes", self.connection_window_bytes),
            send_buffer: count(of, "send-buffer-bytes", self.send_buffer_bytes),
            max_header_bytes: header_bytes(of, self.max_header_bytes),
            max_pending_resets: count(of, "max-pending-resets", self.max_pending_resets),
            max_error_resets: count(of, "max-error-resets", self.max_error_resets),
        };
        let streams = count_u32(of, "max-streams-per-connection", self.max_streams_per_connection);
        let limits = Limits {
            max_message_bytes: count(of, "max-message-bytes", self.max_message_bytes),
            max_envoy_message_bytes: count(of, "max-envoy-message-bytes", self.max_envoy_message_bytes),
            dataplane: DataplaneLimits {
                labels: count(of, "max-labels", self.max_labels),
                inbounds: count(of, "max-inbounds", self.max_inbounds),
            },
            hello_timeout: period(of, "hello-timeout", self.hello_timeout),
            idle_timeout: period(of, "idle-timeout", self.idle_timeout),
            keepalive_interval: period(of, "keepalive-interval", self.keepalive_interval),
            keepalive_timeout: period(of, "keepalive-timeout", self.keepalive_timeout),
            max_streams_per_connection: streams,
            max_connections: count(of, "max-connections", self.max_connections),
            http2,
        };
        note_what_cannot_be(&limits, of);
        (limits, registry)
    }
}

fn note_what_cannot_be(limits: &Limits, problems: &mut Problems) {
    let inbounds = limits.dataplane.inbounds;
    if inbounds > Health::MAX_INBOUNDS {
        let most = Health::MAX_INBOUNDS;
        problems.note("max-inbounds", &format!("\"{inbounds}\": must be {most} or less"));
    }
    if limits.idle_timeout <= REPORT_INTERVAL {
        let problem = format!("must be more than the {REPORT_INTERVAL:?} between agents' statements");
        problems.note("idle-timeout", &problem);
    }
    if limits.max_connections > MOST_CONNECTIONS {
        problems.note("max-connections", &format!("must be {MOST_CONNECTIONS} or less"));
    }
}

fn count_u32(problems: &mut Problems, name: &str, value: Parsed<NonZeroU32>) -> u32 {
    problems.take(name, value).map_or(1, NonZeroU32::get)
}

fn window(problems: &mut Problems, name: &str, value: Parsed<NonZeroU32>) -> u32 {
    let window = count_u32(problems, name, value);
    if window > LARGEST_WINDOW {
        problems.note(name, &format!("\"{window}\": must be {LARGEST_WINDOW} or less"));
    }
    window
}

fn header_bytes(problems: &mut Problems, value: Parsed<NonZeroU32>) -> u32 {
    let Some(bytes) = problems.take("max-header-bytes", value).map(NonZeroU32::get) else {
        return LEAST_HEADER_BYTES;
    };
    if bytes < LEAST_HEADER_BYTES {
        problems.note("max-header-bytes", &format!("\"{bytes}\": must be {LEAST_HEADER_BYTES} or more"));
    }
    bytes
}
