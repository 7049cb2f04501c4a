//! Limits of what gRPC clients may use.

use std::time::Duration;

use crate::model::DataplaneLimits;

/// Limits of gRPC clients. Counts and sizes are at least 1, times are above 0 s and at most a
/// year, unless stated otherwise.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one incoming message. The default of 64 KiB fits a hello with 64 long labels and
    /// 64 inbounds with a handful of tags each.
    pub max_message_bytes: usize,
    /// Bytes of one incoming message of an Envoy. Its first message lists its 516 extensions in
    /// 60 KiB; the default of 256 KiB leaves the rest for its metadata.
    pub max_envoy_message_bytes: usize,
    /// Labels and inbounds of a dataplane.
    pub dataplane: DataplaneLimits,
    /// Longest time from opening a stream to its hello, from accepting a connection to its HTTP/2
    /// preface, and for the request of any other call to arrive. The default of 5 s is many round
    /// trips on any network.
    pub hello_timeout: Duration,
    /// Longest time that a session without heartbeats may send nothing; above the 30 s between
    /// agents' full reports. The default is ten times that interval: the health of a dataplane
    /// that has missed ten reports is not known.
    pub idle_timeout: Duration,
    /// Time without data from a client until an HTTP/2 PING. The default of 6.5 s and a timeout of
    /// 2 s detect a dead peer within 9 s; the documented bound is 10 s. It is a little above the
    /// 6 s between agents' heartbeats, so that these take the place of PINGs.
    pub keepalive_interval: Duration,
    /// Longest time for the acknowledgement of a PING, and longest delay of a heartbeat, which
    /// may always be late by a second.
    pub keepalive_timeout: Duration,
    /// Open streams of one connection. The default of 1,024 is ten times the proxies of a node
    /// that share one connection through a multiplexing proxy.
    pub max_streams_per_connection: u32,
    /// Open connections, at most [`tokio::sync::Semaphore::MAX_PERMITS`]. The default of 100,000
    /// is one for each session that the registry admits.
    pub max_connections: usize,
    /// Open connections from one address, at least 1; an IPv6 address counts as its /64 network. By
    /// default half of `max_connections`, so that one address can't take all places, and no limit
    /// for loopback, where all clients have the same address.
    pub max_connections_per_address: Option<usize>,
    /// Connections per second of one address, on each listener, that end without a request of an
    /// authenticated caller; at least 1. Ten times as many may do so at once. An IPv6 address counts as
    /// its /64 network. By default 100, whose TLS handshakes take a few percent of a core, and no limit
    /// for loopback.
    pub max_unauthenticated_connection_rate: Option<usize>,
    /// Longest time that a connection may be without a call. The default is 5 min; clients
    /// reconnect with their next call. grpc-go's `MaxConnectionIdle`.
    pub max_connection_idle: Duration,
    /// Longest age of a connection, varied by 10 %. By default there is none: connections of sessions
    /// are long-lived, and each reconnect shows for a moment as a disconnected dataplane. Behind a load
    /// balancer, it spreads clients over the balancer's instances and ends the watches of clients that
    /// are gone. grpc-go's `MaxConnectionAge`.
    pub max_connection_age: Option<Duration>,
    /// Longest time for the streams of a connection to end after it has reached its maximum age. The
    /// default of 30 s is far above the time of a call. grpc-go's `MaxConnectionAgeGrace`.
    pub max_connection_age_grace: Duration,
    /// Limits of one HTTP/2 connection.
    pub http2: Http2Limits,
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
            max_connections_per_address: None,
            max_unauthenticated_connection_rate: None,
            max_connection_idle: Duration::from_mins(5),
            max_connection_age: None,
            max_connection_age_grace: Duration::from_secs(30),
            http2: Http2Limits::default(),
        }
    }
}

/// Limits of one HTTP/2 connection. A client that floods the server beyond one of the last three
/// is disconnected with `ENHANCE_YOUR_CALM`.
#[derive(Debug, Clone)]
pub struct Http2Limits {
    /// Flow-control window of one stream in bytes, up to 2^31 - 1. The default of 64 KiB is the
    /// largest message.
    pub stream_window: u32,
    /// Flow-control window of a connection in bytes, up to 2^31 - 1. The default of 1 MiB is ten
    /// times what 1,000 proxies behind one multiplexing proxy report at once.
    pub connection_window: u32,
    /// Bytes of one stream that wait for the client to read them; more is not produced until the
    /// client reads. The default is 64 KiB.
    pub send_buffer: usize,
    /// Bytes of a request's headers after decompression, at least 1,024; larger ones are answered
    /// with 431, much larger ones end the connection. Normal requests have a few hundred bytes,
    /// but HPACK and CONTINUATION frames can expand a few to megabytes (CVE-2024-27316). The
    /// default is 16 KiB.
    pub max_header_bytes: u32,
    /// Streams that the client has reset before the server accepted them: "rapid reset"
    /// (CVE-2023-44487). Normal clients cancel a call now and then; the default is 20.
    pub max_pending_resets: usize,
    /// Streams that the server has reset for the client's errors, over the life of a connection
    /// (CVE-2025-8671). A normal client causes one when it sends on a stream that the server has
    /// just ended, so the default of 1,024 is one for each stream. tonic sets no limit.
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
