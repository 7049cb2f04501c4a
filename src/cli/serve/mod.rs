//! `headcount serve`: the control plane.

mod demo;
mod envoy;
mod kube;
mod limits;
mod tls;

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tokio::time::timeout;
use tracing::{error, info, warn};

use self::{demo::Demo, envoy::EnvoyArgs, kube::KubeArgs, limits::LimitArgs, tls::TlsArgs};
use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::{
        log::{LogArgs, LogSettings},
        period::{NonZeroPeriod, Period},
        switch::Switch,
    },
    data_dir_failure,
};
use crate::{
    app::App,
    audit::{AuditLog, CannotOpen},
    config::{Config, KubeSettings},
    net::file_descriptors::connection_capacity,
    registry::RegistrySettings,
    runtime::signals::ShutdownSignals,
};

/// Longest time for the last lines of the audit log when the server ends without a drain.
const LAST_LINES_TIMEOUT: Duration = Duration::from_secs(1);

/// Run the control plane
///
/// Agents and Envoys report to the gRPC address; watchers, `headcount get` and grpcurl
/// read from it. The HTTP address serves /metrics, /livez and /readyz. A third address
/// serves the Kubernetes API, for kubectl and admission webhooks. All three are on
/// loopback by default, where callers need no credential. Other addresses require TLS and
/// authentication.
///
/// SIGTERM, SIGQUIT and Ctrl-C start a drain: the health services report that the server is not
/// ready, proxies are asked to reconnect later, and every stream ends with a status.
/// With --data-dir the last changes are stored then, for at most 5s. A second signal ends the
/// process at once, without that; only the last lines of the audit log are written, for at most 1s.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount serve --demo                       run with simulated proxies
  headcount serve --config headcount.yaml      read flags from a file
  headcount serve --data-dir /var/lib/headcount/data
                                               keep registrations over a restart
  HEADCOUNT_RETENTION=1h headcount serve       set a flag by its environment variable
  headcount serve --grpc-addr 127.0.0.1:0 --addresses-file /tmp/headcount.json
                                               choose a free port and write it to a file

While the server runs:
  headcount get workloads -A -w
  grpcurl -plaintext 127.0.0.1:7100 headcount.v1.WorkloadService/WatchWorkloads
  curl http://127.0.0.1:7101/metrics
  kubectl -s http://127.0.0.1:7102 get workloads -A")]
pub(super) struct ServeArgs {
    /// IP address and port of the gRPC API; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7100")]
    grpc_addr: Parsed<SocketAddr>,
    /// IP address and port of /metrics, /livez and /readyz; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7101")]
    http_addr: Parsed<SocketAddr>,
    /// File to write the bound addresses to, as JSON, once the server is ready
    ///
    /// An existing file is removed at start, so a script can wait for the file to appear.
    #[arg(long, value_name = "FILE")]
    addresses_file: Option<PathBuf>,
    /// Directory that keeps registrations over a restart; it is created if it does not exist
    ///
    /// After a restart every dataplane is still registered, every Workload has the same uid, and
    /// dataplanes that were connected are expected back. The directory also keeps signing keys,
    /// revocations of tokens, and MeshIdentities. Without this flag a restart begins with nothing.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// Longest time after a restart in which the server waits for dataplanes to come back
    ///
    /// Until they are back or this time has passed, the server reports that it is warming, and
    /// retains them even if their retention has ended.
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    warming_timeout: Parsed<NonZeroPeriod>,
    /// Run simulated proxies of three workloads, and print each change of their counts
    ///
    /// All addresses must then be on loopback and without TLS.
    #[arg(long, action = clap::ArgAction::SetTrue)]
    demo: Parsed<Switch>,
    /// How long a lost dataplane stays registered; 0s removes it at once
    ///
    /// A dataplane is lost when its session ends without a goodbye. Until the retention
    /// ends it counts as registered but not connected.
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    retention: Parsed<Period>,
    /// Longest duration of a drain; connections that are still open are then closed
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    drain_timeout: Parsed<NonZeroPeriod>,
    /// Number of changes kept for watchers that are behind or resume
    ///
    /// A watcher that has missed more changes than this receives a new snapshot.
    #[arg(long, value_name = "COUNT", default_value = "65536")]
    change_log: Parsed<NonZeroUsize>,
    /// Interval of bookmarks to a watcher that has no changes to receive
    ///
    /// A bookmark carries the current revision, so that the watcher can resume from it.
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    bookmark_interval: Parsed<NonZeroPeriod>,
    /// Shortest time between visible health changes of one dataplane; 0s disables the limit
    ///
    /// Changes that come sooner are deferred. The latest one always becomes visible. At most 2s.
    #[arg(long, value_name = "DURATION", default_value = "100ms")]
    flap_interval: Parsed<Period>,
    #[command(flatten)]
    kube: KubeArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    envoy: EnvoyArgs,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl ServeArgs {
    /// Serves until a signal or a failure ends the process.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (mut config, log, demo) = self.check(problems)?;
        let mut logs = log.start();
        let capacity = connection_capacity(config.kube.max_connections);
        if config.limits.max_connections > capacity {
            info!(
                max_connections = capacity,
                "max-connections lowered to the limit of open files (ulimit -n)"
            );
            config.limits.max_connections = capacity;
        }
        config.registry.first_revision = first_revision((config.registry.wall_clock)());
        let mut signals = ShutdownSignals::install().map_err(anyhow::Error::from)?;
        let started = tokio::select! {
            started = App::start(config) => started,
            () = signals.recv() => return Ok(Outcome::Success),
        };
        let mut app = started.map_err(start_failure)?;
        let (registry, audit) = (app.registry().clone(), app.audit_log().clone());
        let demo = if demo { Some(Demo::start(app.addresses(), terminal)?) } else { None };
        let fault = tokio::select! {
            () = signals.recv() => None,
            error = app.failed() => Some(error.into()),
            error = logs.failed() => Some(error.into()),
            never = Demo::print_changes(demo.as_ref()) => match never {},
        };
        if let Some(fault) = fault {
            write_last_lines(&audit).await;
            return Err(fault);
        }
        let shutdown = async {
            if let Some(demo) = demo {
                demo.stop().await;
            }
            app.drain().await
        };
        tokio::select! {
            _in_time = shutdown => {}
            () = signals.recv() => {
                let not_stored = registry.pending_records();
                warn!(not_stored, "a second signal: ending at once");
                write_last_lines(&audit).await;
            }
        }
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<(Config, LogSettings, bool), Failure> {
        let log = self.log.check(&mut problems);
        let Switch(demo) = problems.take("demo", self.demo).unwrap_or_default();
        let defaults = Config::default();
        let (limits, registry_limits) = self.limits.check(&mut problems);
        let grpc_addr = problems.take("grpc-addr", self.grpc_addr).unwrap_or(defaults.grpc_addr);
        let http_addr = problems.take("http-addr", self.http_addr).unwrap_or(defaults.http_addr);
        let kube = self.kube.check(self.tls.shared_files(), self.tls.authenticates(), &mut problems);
        let flags = self.tls.check(grpc_addr, http_addr, kube.tls.is_some(), &mut problems);
        // An invalid value is replaced, so that the problems of all flags are found.
        let config = Config {
            grpc_addr,
            http_addr,
            kube: KubeSettings {
                max_unauthenticated_connection_rate: limits.max_unauthenticated_connection_rate,
                ..kube
            },
            addresses_file: self.addresses_file,
            data_dir: data_dir(&mut problems, self.data_dir, demo),
            access_file: flags.access_file,
            audit_log: audit_log(&mut problems, flags.audit_log, demo),
            tls: flags.tls,
            insecure_anonymous_metrics: flags.anonymous_metrics,
            warming_timeout: period(&mut problems, "warming-timeout", self.warming_timeout),
            drain_timeout: period(&mut problems, "drain-timeout", self.drain_timeout),
            registry: RegistrySettings {
                retention: period(&mut problems, "retention", self.retention),
                log_capacity: count(&mut problems, "change-log", self.change_log),
                flap_interval: flap_interval(&mut problems, self.flap_interval),
                bookmark_interval: period(&mut problems, "bookmark-interval", self.bookmark_interval),
                ..registry_limits
            },
            limits,
            envoy: self.envoy.check(&mut problems),
        };
        if demo && !demo::is_local(&config) {
            let problem = "its server is without TLS and credentials, so it must be on loopback and without TLS: remove \
                           the flags of other addresses and of certificates";
            problems.note("demo", problem);
        }
        let Some(log) = log else {
            return Err(problems.into());
        };
        problems.finish()?;
        Ok((config, log, demo))
    }
}

/// Waits until the last lines of the audit log are written, for a short time: the disk may hang.
async fn write_last_lines(audit: &AuditLog) {
    if timeout(LAST_LINES_TIMEOUT, audit.flush()).await.is_err() {
        error!("the last lines of the audit log are not written");
    }
}

/// A wrong path of the data directory or of the audit log is an error of the command line.
fn start_failure(error: anyhow::Error) -> Failure {
    if let Some(error) = error.downcast_ref::<CannotOpen>() {
        let text = error.to_string();
        return if error.is_usage() { Failure::Usage(text) } else { anyhow::anyhow!(text).into() };
    }
    match error.downcast_ref() {
        Some(error) => data_dir_failure(error, None),
        None => error.into(),
    }
}

/// The first revision: the time of day in microseconds. No server makes a change per microsecond,
/// so every revision of an earlier process is lower unless the clock was set back, and a client that
/// resumes from one is detected. A data directory raises it if an earlier process reserved more.
fn first_revision(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(0))
}

fn data_dir(problems: &mut Problems, path: Option<PathBuf>, demo: bool) -> Option<PathBuf> {
    if demo && path.is_some() {
        problems.note("data-dir", "can't be used with --demo, whose proxies are gone after a restart");
    }
    path
}

fn audit_log(problems: &mut Problems, path: Option<PathBuf>, demo: bool) -> Option<PathBuf> {
    if demo && path.as_deref() == Some(Path::new("-")) {
        problems.note("audit-log", "\"-\": --demo prints to standard output: name a file");
    }
    path
}

/// The longest flap interval. The acknowledgement of a deferred report comes with it, and agents
/// wait 5 s for one before they reconnect.
const LONGEST_FLAP_INTERVAL: Duration = Duration::from_secs(2);

fn flap_interval(problems: &mut Problems, value: Parsed<Period>) -> Duration {
    let interval = period(problems, "flap-interval", value);
    if interval > LONGEST_FLAP_INTERVAL {
        let problem = format!(
            "\"{interval:?}\": must be {LONGEST_FLAP_INTERVAL:?} or less: agents wait 5s for an acknowledgement, \
             which a deferred report delays by the interval"
        );
        problems.note("flap-interval", &problem);
    }
    interval
}

/// The value of a flag, or 0 and a problem.
fn count(problems: &mut Problems, name: &str, value: Parsed<NonZeroUsize>) -> usize {
    problems.take(name, value).map_or(0, NonZeroUsize::get)
}

/// The value of a flag, or zero and a problem.
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
    fn flag_defaults_equal_the_defaults_of_config() {
        let flags = check(&[]).unwrap();
        assert_eq!(format!("{flags:?}"), format!("{:?}", Config::default()));
    }

    #[test]
    fn the_demo_is_on_loopback_without_tls_only() {
        check(&["--demo", "--grpc-addr", "127.0.0.1:0", "--http-addr", "[::1]:0"]).unwrap();
        for flags in [
            "--grpc-addr 0.0.0.0:0 --insecure-allow-anonymous",
            "--http-addr 0.0.0.0:0 --insecure-allow-anonymous",
            "--grpc-tls-cert-file tls.crt --grpc-tls-key-file tls.key",
            "--http-tls-cert-file tls.crt --http-tls-key-file tls.key",
            "--kube-tls-cert-file tls.crt --kube-tls-key-file tls.key",
        ] {
            let args: Vec<_> = ["--demo"].into_iter().chain(flags.split(' ')).collect();
            let report = check(&args).unwrap_err().to_string();
            assert!(report.contains("--demo: its server is without TLS"), "{flags}: {report}");
        }
    }

    #[test]
    fn all_problems_are_reported_together() {
        let args = "--grpc-addr nowhere --max-sessions 0 --retention soon --max-inbounds 65 --idle-timeout 30s \
             --stream-window-bytes 2147483648 --max-header-bytes 1000 --kube-api-addr 0.0.0.0:7102 \
             --kube-api-group Kuma --envoy-report-interval 0s --flap-interval 3s --send-buffer-bytes 4294967296 \
             --max-kube-connections 18446744073709551615";
        let report = check(&args.split(' ').collect::<Vec<_>>()).unwrap_err().to_string();
        for part in [
            "13 problems",
            "--grpc-addr: \"nowhere\"",
            "--max-sessions: \"0\"",
            "--retention: \"soon\"",
            "--max-inbounds: \"65\"",
            "--idle-timeout: must be more than 30s",
            "--stream-window-bytes: \"2147483648\": must be 2147483647 or less",
            "--max-header-bytes: \"1000\": must be 1024 or more",
            "--kube-api-addr: \"0.0.0.0:7102\": other machines could reach it",
            "--kube-api-group: \"Kuma\"",
            "--flap-interval: \"3s\": must be 2s or less",
            "--send-buffer-bytes: \"4294967296\": must be 4294967295 or less",
            "--max-kube-connections: must be",
            "--envoy-report-interval: \"0s\": must be at least 50ms and at most 1h",
        ] {
            assert!(report.contains(part), "{part} is not in:\n{report}");
        }
    }
}
