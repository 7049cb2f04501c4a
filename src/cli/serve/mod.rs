//! `headcount serve`: the control plane.

mod demo;
mod envoy;
mod kube;
mod limits;

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use tracing::{info, warn};

use self::{demo::Demo, envoy::EnvoyArgs, kube::KubeArgs, limits::LimitArgs};
use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::{
        log::{LogArgs, Logs},
        period::{NonZeroPeriod, Period},
    },
};
use crate::{
    app::App, config::Config, net::file_descriptors::connection_capacity, registry::RegistrySettings,
    runtime::signals::ShutdownSignals,
};

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

impl ServeArgs {
    /// Serves until a signal ends it.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (mut config, logs, demo) = self.check(problems)?;
        logs.start();
        let room = connection_capacity(config.kube.max_connections);
        if config.limits.max_connections > room {
            info!(max_connections = room, "lowered: the process may open no more files (ulimit -n)");
            config.limits.max_connections = room;
        }
        config.registry.first_revision = revision_at((config.registry.wall_clock)());
        let mut signals = ShutdownSignals::install().map_err(anyhow::Error::from)?;
        let mut app = App::start(config).await?;
        let demo = if demo { Some(Demo::start(app.addresses(), terminal)?) } else { None };
        tokio::select! {
            () = signals.recv() => {}
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
            () = signals.recv() => warn!("a second signal: ending at once"),
        }
        Ok(Outcome::Success)
    }

    fn check(self, mut problems: Problems) -> Result<(Config, Logs, bool), Failure> {
        let (of, logs) = (&mut problems, self.log);
        let logs = logs.check(of);
        let demo = of.take("demo", self.demo).unwrap_or_default();
        let defaults = Config::default();
        let (limits, most) = self.limits.check(of);
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
                flap_interval: period(of, "flap-interval", self.flap_interval),
                bookmark_interval: period(of, "bookmark-interval", self.bookmark_interval),
                ..most
            },
            limits,
            envoy: self.envoy.check(of),
        };
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
