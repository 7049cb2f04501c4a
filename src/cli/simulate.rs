//! `headcount simulate`: the load tool.

use std::{fmt::Write as _, io::IsTerminal as _, num::NonZeroU32, time::Duration};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio_util::sync::CancellationToken;

use super::{
    Failure, Outcome, Parsed, Problems, Terminal,
    args::{period::NonZeroPeriod, server_url::ServerUrl},
    choice,
};
use crate::{
    agent::endpoint,
    model::{MeshName, Namespace},
    runtime::signals::ShutdownSignals,
    simulate::load::{self, LoadConfig, LoadReport, Progress},
};

/// Simulate many proxies and check that the server counts them right
///
/// Connects, waits until a watch shows all of them healthy, flaps their health
/// for a while, waits for the right numbers, says goodbye, and waits until none
/// is left. Ends with code 1 if a number was wrong or a session was lost.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  headcount simulate --proxies 1000 --workloads 20
  headcount simulate --proxies 10000 --workloads 100 --connections 10000 --flaps 1000 --duration 60s
  headcount simulate -o json | jq .ackP99Micros")]
pub(super) struct SimulateArgs {
    /// How many proxies
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    proxies: Parsed<NonZeroU32>,
    /// Of how many workloads
    #[arg(long, value_name = "COUNT", default_value = "10")]
    workloads: Parsed<NonZeroU32>,
    /// Over how many connections; by default one for every 100 proxies
    #[arg(long, value_name = "COUNT")]
    connections: Option<Parsed<NonZeroU32>>,
    /// Changes of health per second, of all proxies together; 0 for none
    #[arg(long, value_name = "COUNT", default_value = "100")]
    flaps: Parsed<u32>,
    /// For how long health flaps
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    duration: Parsed<NonZeroPeriod>,
    /// How long the numbers may take to become right after each phase
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    patience: Parsed<NonZeroPeriod>,
    /// The mesh of the proxies
    #[arg(long, default_value = "default")]
    mesh: String,
    /// The namespace of the proxies; it should have no others
    #[arg(short, long, default_value = "simulate")]
    namespace: String,
    /// Where the server listens for gRPC; `host:port` will do
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7100")]
    server: Parsed<ServerUrl>,
    /// How to print the result
    #[arg(short, long, value_name = "FORMAT", default_value = "text", value_parser = choice::<ReportFormat>())]
    output: Parsed<ReportFormat>,
}

/// How to print the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// Lines for people
    Text,
    /// One JSON object
    Json,
}

impl SimulateArgs {
    /// Simulates, and says how it went.
    pub(super) async fn run(
        self,
        problems: Problems,
        terminal: &mut Terminal<'_>,
    ) -> Result<Outcome, Failure> {
        let (config, format) = self.check(problems)?;
        let mut signals = ShutdownSignals::install().map_err(anyhow::Error::from)?;
        let stop = CancellationToken::new();
        let bar = Bar::new();
        let mut running = std::pin::pin!(load::run(config, stop.clone(), |progress| bar.show(progress)));
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
        bar.0.finish_and_clear();
        let report = report.map_err(anyhow::Error::from)?;
        terminal.print(&match format {
            ReportFormat::Text => text(&report),
            ReportFormat::Json => serde_json::to_string_pretty(&report).map_err(anyhow::Error::from)? + "\n",
        })?;
        Ok(match (interrupted, report.right) {
            (true, _) => Outcome::Interrupted,
            (false, true) => Outcome::Success,
            (false, false) => Outcome::No,
        })
    }

    fn check(self, mut problems: Problems) -> Result<(LoadConfig, ReportFormat), Failure> {
        let of = &mut problems;
        let mesh = of.take_checked("mesh", MeshName::parse("mesh", &self.mesh));
        let namespace = of.take_checked("namespace", Namespace::parse("namespace", &self.namespace));
        let server = of.take("server", self.server);
        let server = server.and_then(|url| of.take_checked("server", endpoint(&url.to_string())));
        let proxies = of.take("proxies", self.proxies).map_or(1, NonZeroU32::get);
        let workloads = of.take("workloads", self.workloads).map_or(1, NonZeroU32::get);
        let connections = of.take_optional("connections", self.connections).map(NonZeroU32::get);
        let flaps_per_second = of.take("flaps", self.flaps).unwrap_or_default();
        let duration = of.take("duration", self.duration).map_or(Duration::ZERO, Into::into);
        let patience = of.take("patience", self.patience).map_or(Duration::ZERO, Into::into);
        let format = of.take("output", self.output);
        let (Some(mesh), Some(namespace), Some(server), Some(format)) = (mesh, namespace, server, format)
        else {
            return Err(problems.into());
        };
        problems.finish()?;
        let config = LoadConfig {
            server,
            proxies,
            workloads: workloads.min(proxies),
            connections: connections.unwrap_or(proxies.div_ceil(100)).min(proxies),
            flaps_per_second,
            duration,
            patience,
            mesh: mesh.to_string(),
            namespace: namespace.to_string(),
        };
        Ok((config, format))
    }
}

/// A progress bar where a person watches, nothing elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{msg:>10} [{wide_bar}] {pos}/{len}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        self.0.set_message(progress.phase);
        self.0.set_length(progress.total);
        self.0.set_position(progress.done);
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
        |time: Option<f64>| time.map_or("never right".to_owned(), |time| format!("right after {time:.3} s"));
    line("all connected", seconds(report.connect_seconds));
    line("flaps", format!("{}, {} reports acknowledged", report.flaps, report.acks));
    let (p50, p99, max) = (report.ack_p50_micros, report.ack_p99_micros, report.ack_max_micros);
    line("report to ack", format!("p50 {p50} us, p99 {p99} us, max {max} us"));
    line("counts after flaps", seconds(report.settle_seconds));
    line("counts after goodbyes", seconds(report.leave_seconds));
    line("lost sessions", report.lost.to_string());
    if let Some(loss) = &report.first_loss {
        line("first loss", super::terminal::visible(loss).into_owned());
    }
    line("result", if report.right { "right" } else { "WRONG" }.to_owned());
    text
}
