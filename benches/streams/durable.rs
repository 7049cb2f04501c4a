//! What a data directory costs, and what it saves at a restart: the same server with `--data-dir` and without.

use std::{env, fs, path::PathBuf, process, time::Duration};

use anyhow::ensure;
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};

use crate::{
    bare_tonic::Mode,
    clients::{self, Proxy},
    latency, registrations,
    remote::Remote,
    server::{Server, Setup, Side},
    support::{
        percentile::percentile,
        rounds::{Figure, Measure, compare, measure_alone},
        target::Target,
    },
    throughput,
    watch::Watch,
};

pub(crate) const ROW: &str = "durable";
pub(crate) const SIDES: [&str; 2] = ["with --data-dir", "in memory"];

/// The data directory of the servers of this process, empty at first; removed when it is dropped.
pub(crate) struct DataDir(PathBuf);

struct Scale {
    rounds: usize,
    /// Dataplanes that are registered at the restart.
    dataplanes: usize,
    connections: usize,
    warm_up: usize,
    reports: usize,
}

const FULL: Scale = Scale { rounds: 5, dataplanes: 100_000, connections: 128, warm_up: 500, reports: 3_000 };

const QUICK: Scale = Scale { rounds: 1, dataplanes: 500, connections: 4, warm_up: 50, reports: 200 };

/// Rounds of a restart.
const RESTARTS: usize = 3;
/// Time between two dataplanes that come and go while the latency of reports is measured.
const CHURN: Duration = Duration::from_millis(2);
/// Dataplanes with these numbers come and go; no other row uses them.
const FIRST_OF_CHURN: usize = 2_000_000;

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    let mut figures = compare(ROW, scale.rounds, [true, false], |durable| load(durable, &scale, quick))?;
    figures.extend(compare(ROW, if quick { 1 } else { RESTARTS }, [true, false], |durable| {
        Runtime::new()?.block_on(restart(durable, &scale))
    })?);
    figures.extend(measure_alone(ROW, 1, || disk(&scale))?);
    Ok(figures)
}

fn setup(directory: Option<&DataDir>) -> Setup {
    let setup = Setup::new(Side::Headcount, Mode::Ack).without_limits();
    if directory.is_some() { setup.with_data_dir(process::id()) } else { setup }
}

fn load(durable: bool, scale: &Scale, quick: bool) -> anyhow::Result<Vec<Measure>> {
    let flips = on_fresh(durable, |server| throughput::per_second(server, quick))?;
    let registrations = on_fresh(durable, |server| registrations::per_second(server, quick))?;
    let latency = on_fresh(durable, |server| latency(server, scale))?;
    Ok(vec![
        Measure::new("reports acknowledged, each a flip", "per second", flips)
            .target(Target::RatioAtLeast(0.95)),
        Measure::new("registrations", "per second", registrations).target(Target::RatioAtLeast(0.85)),
        Measure::new(
            "a report to a watcher, while 500 dataplanes come and go per second, p99",
            "µs",
            latency,
        )
        .target(Target::RatioAtMost(1.1)),
    ])
}

/// Measures a server with an empty data directory, or without one.
fn on_fresh(durable: bool, measure: impl FnOnce(&Server) -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    let directory = durable.then(DataDir::new).transpose()?;
    measure(&Server::start(setup(directory.as_ref()))?)
}

/// The p99 of the latency of a report, in microseconds.
fn latency(server: &Server, scale: &Scale) -> anyhow::Result<f64> {
    let runtime = Runtime::new()?;
    let churn = runtime.spawn(churn(server.remote()));
    let (latencies, _) = latency::latencies(server, scale.warm_up, scale.reports)?;
    ensure!(!churn.is_finished(), "the client whose dataplanes come and go has ended");
    Ok(percentile(&latencies, 99).as_secs_f64() * 1e6)
}

/// Connects and disconnects one dataplane after another. They name no workload, because each revision stands
/// for one report of the proxy that is measured.
async fn churn(remote: Remote) -> anyhow::Result<()> {
    let connection = clients::connect(remote).await?;
    for number in FIRST_OF_CHURN.. {
        drop(Proxy::open_without_workload(connection.clone(), number).await?);
        sleep(CHURN).await;
    }
    Ok(())
}

/// Kills a server and starts it again: until it serves, and until all dataplanes are back.
async fn restart(durable: bool, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let directory = durable.then(DataDir::new).transpose()?;
    let setup = setup(directory.as_ref()).with_sessions(scale.dataplanes);
    let server = Server::start(setup)?;
    let (addr, all) = (server.addr(), u32::try_from(scale.dataplanes)?);
    let proxies = clients::connect_many(server.remote(), 0..scale.dataplanes, scale.connections).await?;
    // Longer than a change may take to be durable.
    sleep(Duration::from_secs(1)).await;
    drop(server);
    drop(proxies);

    let start = Instant::now();
    let server = Server::start(setup.at(addr))?;
    let serving = start.elapsed();
    let mut watch = Watch::open(server.remote()).await?;
    let registered = watch.total();
    ensure!(registered == if durable { all } else { 0 }, "{registered} are registered after the restart");
    let _proxies = clients::connect_many(server.remote(), 0..scale.dataplanes, scale.connections).await?;
    watch.until(|watch| watch.sums().0 == all).await?;
    ensure!(watch.total() == all, "{} are registered in the end", watch.total());
    Ok(vec![
        Measure::new("restart with 100,000 registrations, until it serves", "s", serving.as_secs_f64())
            .target(Target::AtMost(1.0)),
        Measure::new("until all are connected and counted", "s", start.elapsed().as_secs_f64()),
        Measure::new("registered dataplanes missing when it serves", "", f64::from(all - registered)),
    ])
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
fn disk(scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let directory = DataDir::new()?;
    let runtime = Runtime::new()?;
    let server = Server::start(setup(Some(&directory)).with_sessions(scale.dataplanes))?;
    let bytes_of = |times: usize| -> anyhow::Result<f64> {
        for _ in 0..times {
            let proxies = runtime.block_on(clients::connect_many(
                server.remote(),
                0..scale.dataplanes,
                scale.connections,
            ))?;
            runtime.block_on(async { sleep(Duration::from_secs(1)).await });
            drop(proxies);
            runtime.block_on(async { sleep(Duration::from_secs(1)).await });
        }
        Ok(fs::metadata(directory.0.join("registrations.redb"))?.len() as f64 / scale.dataplanes as f64)
    };
    let target = Target::AtMost(400.0);
    Ok(vec![
        Measure::new("on disk per registration, of 100,000", "bytes", bytes_of(1)?).target(target),
        Measure::new("after all have reconnected five more times", "bytes", bytes_of(5)?).target(target),
    ])
}

impl DataDir {
    fn new() -> anyhow::Result<Self> {
        let path = Self::path(process::id());
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        Ok(Self(path))
    }

    /// The data directory of the servers that a process starts.
    pub(crate) fn path(parent: u32) -> PathBuf {
        env::temp_dir().join(format!("headcount-bench-{parent}"))
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // It may have been replaced by the next one already.
        let _absent = fs::remove_dir_all(&self.0);
    }
}
