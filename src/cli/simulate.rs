//! `headcount simulate`: the load test.

use std::{
    cell::Cell,
    fmt::Write as _,
    io::{ErrorKind, IsTerminal as _},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::{
        log::{LogArgs, LogSettings},
        period::NonZeroPeriod,
        server::EndpointArgs,
    },
    choice,
    terminal::visible,
};
use crate::{
    model::{MeshName, Namespace},
    net::file_descriptors::connection_capacity,
    runtime::signals::ShutdownSignals,
    simulate::load::{self, LoadConfig, LoadReport, Progress},
};

/// Simulate many proxies and check the server's counts
///
/// The command connects the proxies, changes the health of random ones for a while, and
/// disconnects them. After each phase it waits until a watch reports exactly the right
/// counts, and prints how long that took. All proxies and the watch send the same token, which
/// must allow them. The exit code is 1 if the counts were not right
/// in time or a session was lost.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount simulate --proxies 1000 --workloads 20
  headcount simulate --proxies 10000 --workloads 100 --flaps 1000 --duration 30s
  headcount simulate --server https://headcount.mesh.svc --ca-file ca.crt --token-file sim.jwt
  headcount simulate -o json | jq .ackP99Micros")]
pub(super) struct SimulateArgs {
    /// Number of proxies
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    proxies: Parsed<NonZeroU32>,
    /// Number of workloads; proxies are spread evenly over them
    #[arg(long, value_name = "COUNT", default_value = "10")]
    workloads: Parsed<NonZeroU32>,
    /// Number of connections [default: one per 100 proxies]
    #[arg(long, value_name = "COUNT")]
    connections: Option<Parsed<NonZeroU32>>,
    /// Proxies that connect per second, and that disconnect per second at the end
    ///
    /// By default less than the server admits (its --max-session-rate). Proxies that it
    /// rejects nevertheless return after the delay that it requests, as agents do.
    #[arg(long, value_name = "COUNT", default_value = "2000")]
    connect_rate: Parsed<NonZeroU32>,
    /// Health changes per second, of all proxies together; 0 for none
    #[arg(long, value_name = "COUNT", default_value = "100")]
    flaps: Parsed<u32>,
    /// Duration of the phase with health changes
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    duration: Parsed<NonZeroPeriod>,
    /// Longest time in which the counts come no closer to the right ones, after each phase
    #[arg(long, value_name = "DURATION", default_value = "60s", alias = "patience")]
    settle_timeout: Parsed<NonZeroPeriod>,
    /// Mesh of the proxies
    #[arg(long, value_name = "MESH", default_value = "default", hide_env = true)]
    mesh: String,
    /// Namespace of the proxies; other dataplanes in it make the counts wrong
    #[arg(short, long, value_name = "NAMESPACE", default_value = "simulate", hide_env = true)]
    namespace: String,
    /// Format of the result
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = choice::<ReportFormat>())]
    output: Parsed<ReportFormat>,
    #[command(flatten)]
    endpoint: EndpointArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// Format of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// Lines of text
    Text,
    /// One JSON object
    Json,
}

impl SimulateArgs {
    /// Runs the simulation and prints the result. The first signal skips to the last phase.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (config, format, log) = self.check(problems)?;
        let _logs = log.start();
        let mut signals = ShutdownSignals::install().map_err(anyhow::Error::from)?;
        let stop = CancellationToken::new();
        let view = ProgressView::new();
        let mut running = std::pin::pin!(load::run(config, stop.clone(), |progress| view.update(progress)));
        let (report, interrupted) = tokio::select! {
            report = &mut running => (report, false),
            () = signals.recv() => {
                stop.cancel();
                tokio::select! {
                    report = running => (report, true),
                    () = signals.recv() => return Ok(Outcome::Interrupted),
                }
            }
        };
        view.clear();
        let report = report.map_err(anyhow::Error::from)?;
        let printed = terminal.print(&match format {
            ReportFormat::Text => text(&report),
            ReportFormat::Json => serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)? + "\n",
        });
        // A reader that has closed the pipe does not make a negative result a success.
        printed.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) })?;
        Ok(match (interrupted, report.right) {
            (true, _) => Outcome::Interrupted,
            (false, true) => Outcome::Success,
            (false, false) => Outcome::Negative,
        })
    }

    fn check(self, mut problems: Problems) -> Result<(LoadConfig, ReportFormat, LogSettings), Failure> {
        let log = self.log.check(&mut problems);
        let mesh = problems.take_checked("mesh", MeshName::parse("mesh", &self.mesh));
        let namespace = problems.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let server = self.endpoint.check(&mut problems).map(|(_, endpoint)| endpoint);
        let proxies = problems.take("proxies", self.proxies).map_or(1, NonZeroU32::get);
        let workloads = problems.take("workloads", self.workloads).map_or(1, NonZeroU32::get);
        let connections = problems.take_optional("connections", self.connections).map(NonZeroU32::get);
        let connect_rate = problems.take("connect-rate", self.connect_rate).map_or(1, NonZeroU32::get);
        let flaps_per_second = problems.take("flaps", self.flaps).unwrap_or_default();
        let duration = problems.take("duration", self.duration).map_or(Duration::ZERO, Into::into);
        let settle_timeout =
            problems.take("settle-timeout", self.settle_timeout).map_or(Duration::ZERO, Into::into);
        let format = problems.take("output", self.output);
        let connections = connections.unwrap_or(proxies.div_ceil(100)).min(proxies);
        let capacity = connection_capacity(0);
        if usize::try_from(connections).is_ok_and(|connections| connections > capacity) {
            let problem = format!(
                "{connections}: must be {capacity} or less, because of the limit of open files (ulimit -n)"
            );
            problems.note("connections", &problem);
        }
        let (Some(mesh), Some(namespace), Some(server), Some(format), Some(log)) =
            (mesh, namespace, server, format, log)
        else {
            return Err(problems.into());
        };
        problems.finish()?;
        let config = LoadConfig {
            server,
            proxies,
            workloads: workloads.min(proxies),
            connections,
            connect_rate,
            flaps_per_second,
            duration,
            settle_timeout,
            mesh: mesh.to_string(),
            namespace: namespace.to_string(),
        };
        Ok((config, format, log))
    }
}

/// Shows progress: as a bar if standard error is a terminal, and otherwise as lines of the log, one for
/// each phase and then one every 5 s.
struct ProgressView {
    bar: Option<ProgressBar>,
    last_line: Cell<Option<(&'static str, Instant)>>,
}

const LINE_INTERVAL: Duration = Duration::from_secs(5);

impl ProgressView {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0));
        if let Some(bar) = &bar
            && let Ok(style) = ProgressStyle::with_template("{msg:>10} [{wide_bar}] {pos}/{len}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, last_line: Cell::new(None) }
    }

    fn update(&self, Progress { phase, done, total }: Progress) {
        if let Some(bar) = &self.bar {
            bar.set_message(phase);
            bar.set_length(total);
            bar.set_position(done);
            return;
        }
        let is_due = |(last, at): (&str, Instant)| last != phase || at.elapsed() >= LINE_INTERVAL;
        if self.last_line.get().is_none_or(is_due) {
            self.last_line.set(Some((phase, Instant::now())));
            info!(done, total, "{phase}");
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn text(report: &LoadReport) -> String {
    let LoadReport { proxies, workloads, connections, .. } = report;
    let mut text = format!("{proxies} proxies of {workloads} workloads over {connections} connections\n");
    let mut line = |name: &str, value: String| {
        // Writing to a String can't fail.
        let _written = writeln!(text, "  {name:<22} {value}");
    };
    let seconds =
        |time: Option<f64>| time.map_or("not in time".to_owned(), |time| format!("after {time:.3} s"));
    line("all connected", seconds(report.connect_seconds));
    line("health changes", format!("{}, {} reports acknowledged", report.flaps, report.acks));
    let (p50, p99, max) = (report.ack_p50_micros, report.ack_p99_micros, report.ack_max_micros);
    line("report to ack", format!("p50 {p50} us, p99 {p99} us, max {max} us"));
    line("counts right", seconds(report.settle_seconds));
    line("all unregistered", seconds(report.leave_seconds));
    line("repeated attempts", report.retries.to_string());
    if let Some(reason) = &report.first_retry {
        line("first repeated because", visible(reason).into_owned());
    }
    if report.drained > 0 {
        line("drained sessions", report.drained.to_string());
    }
    line("lost sessions", report.lost.to_string());
    if let Some(loss) = &report.first_loss {
        line("first lost because", visible(loss).into_owned());
    }
    line("result", if report.right { "right" } else { "WRONG" }.to_owned());
    text
}
