//! `headcount serve`: the control plane.

mod envoy;
mod kube;

use std::{
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tracing::{info, warn};

use self::{envoy::EnvoyArgs, kube::KubeArgs};
use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    demo::Demo,
    log::{LogArgs, Logs},
    period::{NonZeroPeriod, Period},
};
use crate::{
    agent::STATEMENT_EVERY,
    app::App,
    config::{Config, Http2Limits, Limits},
    descriptors::room_for_connections,
    model::{DataplaneLimits, Health},
    registry::RegistrySettings,
    signals::EndSignals,
};

/// What a semaphore can count.
const MOST_CONNECTIONS: usize = tokio::sync::Semaphore::MAX_PERMITS;
/// The largest of HTTP/2's windows (RFC 9113, section 6.9.1).
const LARGEST_WINDOW: u32 = (1 << 31) - 1;
/// With less, honest clients would be refused.
const LEAST_HEADER_BYTES: u32 = 1_024;

/// Run the control plane
///
/// Agents and Envoys connect to the gRPC address, and watchers, `headcount get` and
/// grpcurl read from it. The HTTP address serves /metrics, /livez and /readyz, and
/// kubectl reads from the address of the Kubernetes API. All are on loopback by
/// default; only the last one can tell who asks, and only behind kube-apiserver.
///
/// SIGTERM or Ctrl-C drains: health says `NOT_SERVING`, proxies are asked to come
/// back later, and every stream ends with a status that says why. The second
/// signal ends at once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount serve --demo                           with simulated proxies, to look around
  headcount serve --grpc-addr 127.0.0.1:0 --addresses-file /tmp/headcount.json
  headcount serve --config headcount.yaml
  HEADCOUNT_RETENTION=1h headcount serve

While it runs:
  headcount get workloads -A -w
  grpcurl -plaintext 127.0.0.1:7100 headcount.v1.WorkloadService/WatchWorkloads
  curl http://127.0.0.1:7101/metrics
  kubectl -s http://127.0.0.1:7102 get workloads -A")]
pub(super) struct ServeArgs {
    /// Where gRPC listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7100")]
    grpc_addr: Parsed<SocketAddr>,
    /// Where HTTP (metrics, health) listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7101")]
    http_addr: Parsed<SocketAddr>,
    /// Write the addresses really bound to this file, as JSON, once ready
    #[arg(long, value_name = "FILE")]
    addresses_file: Option<PathBuf>,
    /// Add simulated proxies of three workloads
    #[arg(long, action = clap::ArgAction::SetTrue)]
    demo: Parsed<bool>,
    /// How long a dataplane that was lost without a goodbye stays registered; 0s forgets it at once
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    retention: Parsed<Period>,
    /// How long a drain may take before connections are cut
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    drain_timeout: Parsed<NonZeroPeriod>,
    /// Changes that a watcher may be behind and still resume without a snapshot
    #[arg(long, value_name = "COUNT", default_value = "65536")]
    change_log: Parsed<NonZeroUsize>,
    /// How often a quiet watcher gets a bookmark
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    bookmark_interval: Parsed<NonZeroPeriod>,
    /// Least time between visible changes of one dataplane's health; 0s shows each at once
    #[arg(long, value_name = "DURATION", default_value = "100ms")]
    flap_interval: Parsed<Period>,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    envoy: EnvoyArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
struct LimitArgs {
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
    /// The same of an Envoy, which lists 61 KiB of extensions in its first one
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

impl ServeArgs {
    /// Serves until a signal ends it.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (mut config, logs, demo) = self.check(problems)?;
        logs.start();
        let room = room_for_connections(config.kube.max_connections);
        if config.limits.max_connections > room {
            info!(max_connections = room, "lowered: the process may open no more files (ulimit -n)");
            config.limits.max_connections = room;
        }
        config.registry.first_revision = revision_at((config.registry.wall_clock)());
        let mut signals = EndSignals::listen().map_err(anyhow::Error::from)?;
        let mut app = App::start(config).await?;
        let demo = if demo { Some(Demo::start(app.addresses(), terminal)?) } else { None };
        tokio::select! {
            () = signals.next() => {}
            error = app.failed() => return Err(error.into()),
            never = Demo::show(demo.as_ref()) => match never {},
        }
        let end = async {
            if let Some(demo) = demo {
                demo.end().await;
            }
            app.drain().await
        };
        tokio::select! {
            _in_time = end => {}
            () = signals.next() => warn!("a second signal: ending at once"),
        }
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<(Config, Logs, bool), Failure> {
        let (of, logs) = (&mut problems, self.log);
        let logs = logs.check(of);
        let demo = of.take("demo", self.demo).unwrap_or_default();
        let defaults = Config::default();
        // A value that is wrong is noted and stood in for, so that all are read
        // before the report.
        let config = Config {
            grpc_addr: of.take("grpc-addr", self.grpc_addr).unwrap_or(defaults.grpc_addr),
            http_addr: of.take("http-addr", self.http_addr).unwrap_or(defaults.http_addr),
            kube: self.kube.check(of),
            addresses_file: self.addresses_file,
            drain_timeout: period(of, "drain-timeout", self.drain_timeout),
            registry: RegistrySettings {
                retention: period(of, "retention", self.retention),
                log_capacity: count(of, "change-log", self.change_log),
                max_dataplanes: count(of, "max-dataplanes", self.limits.max_dataplanes),
                max_sessions: count(of, "max-sessions", self.limits.max_sessions),
                max_sessions_per_mesh: count(of, "max-sessions-per-mesh", self.limits.max_sessions_per_mesh),
                max_watchers: count(of, "max-watchers", self.limits.max_watchers),
                max_session_rate: count(of, "max-session-rate", self.limits.max_session_rate),
                flap_interval: period(of, "flap-interval", self.flap_interval),
                bookmark_interval: period(of, "bookmark-interval", self.bookmark_interval),
                ..defaults.registry
            },
            limits: Limits {
                max_message_bytes: count(of, "max-message-bytes", self.limits.max_message_bytes),
                max_envoy_message_bytes: count(
                    of,
                    "max-envoy-message-bytes",
                    self.limits.max_envoy_message_bytes,
                ),
                dataplane: DataplaneLimits {
                    labels: count(of, "max-labels", self.limits.max_labels),
                    inbounds: count(of, "max-inbounds", self.limits.max_inbounds),
                },
                hello_timeout: period(of, "hello-timeout", self.limits.hello_timeout),
                idle_timeout: period(of, "idle-timeout", self.limits.idle_timeout),
                keepalive_interval: period(of, "keepalive-interval", self.limits.keepalive_interval),
                keepalive_timeout: period(of, "keepalive-timeout", self.limits.keepalive_timeout),
                max_streams_per_connection: count_u32(
                    of,
                    "max-streams-per-connection",
                    self.limits.max_streams_per_connection,
                ),
                max_connections: count(of, "max-connections", self.limits.max_connections),
                http2: Http2Limits {
                    stream_window: window(of, "stream-window-bytes", self.limits.stream_window_bytes),
                    connection_window: window(
                        of,
                        "connection-window-bytes",
                        self.limits.connection_window_bytes,
                    ),
                    send_buffer: count(of, "send-buffer-bytes", self.limits.send_buffer_bytes),
                    max_header_bytes: header_bytes(of, self.limits.max_header_bytes),
                    max_pending_resets: count(of, "max-pending-resets", self.limits.max_pending_resets),
                    max_error_resets: count(of, "max-error-resets", self.limits.max_error_resets),
                },
            },
            envoy: self.envoy.check(of),
        };
        let inbounds = config.limits.dataplane.inbounds;
        if inbounds > Health::MAX_INBOUNDS {
            of.note("max-inbounds", &format!("\"{inbounds}\": must be {} or less", Health::MAX_INBOUNDS));
        }
        if config.limits.idle_timeout <= STATEMENT_EVERY {
            of.note(
                "idle-timeout",
                &format!("must be more than the {STATEMENT_EVERY:?} between agents' statements"),
            );
        }
        if config.limits.max_connections > MOST_CONNECTIONS {
            of.note("max-connections", &format!("must be {MOST_CONNECTIONS} or less"));
        }
        let Some(logs) = logs else {
            return Err(problems.into());
        };
        problems.finish()?;
        Ok((config, logs, demo))
    }
}

/// Where revisions begin: at the time of day, in microseconds. A reader's position
/// in an earlier life of the server is before it, because no server makes a change
/// each microsecond, and so is never taken for one in this life.
fn revision_at(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(0))
}

fn count(problems: &mut Problems, name: &str, value: Parsed<NonZeroUsize>) -> usize {
    problems.take(name, value).map_or(0, NonZeroUsize::get)
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

fn period<T: Into<Duration>>(problems: &mut Problems, name: &str, value: Parsed<T>) -> Duration {
    problems.take(name, value).map_or(Duration::ZERO, Into::into)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn check(args: &[&str]) -> Result<Config, Failure> {
        let args = std::iter::once(&"headcount").chain(args);
        Command::parse_from(args).serve.check(Problems::default()).map(|(config, _, _)| config)
    }

    #[test]
    fn the_defaults_of_the_flags_are_those_of_the_code() {
        let flags = check(&[]).unwrap();
        assert_eq!(format!("{flags:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let args = "--grpc-addr nowhere --max-sessions 0 --retention soon --max-inbounds 65 --idle-timeout 30s \
             --stream-window-bytes 2147483648 --max-header-bytes 1000 --kube-api-addr 0.0.0.0:7102 \
             --kube-api-group Kuma --envoy-report-interval 0s";
        let report = check(&args.split(' ').collect::<Vec<_>>()).unwrap_err().to_string();
        for part in [
            "10 problems",
            "--grpc-addr: \"nowhere\"",
            "--max-sessions: \"0\"",
            "--retention: \"soon\"",
            "--max-inbounds: \"65\"",
            "--idle-timeout: must be more than the 30s",
            "--stream-window-bytes: \"2147483648\": must be 2147483647 or less",
            "--max-header-bytes: \"1000\": must be 1024 or more",
            "--kube-api-addr: \"0.0.0.0:7102\": other machines could reach it",
            "--kube-api-group: \"Kuma\"",
            "--envoy-report-interval: \"0s\": must be at least 50ms and at most 1h",
        ] {
            assert!(report.contains(part), "{part} is not in:\n{report}");
        }
    }
}
