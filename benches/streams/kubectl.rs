//! Watches of the Kubernetes API against as many `WatchWorkloads`: the server's CPU time of sending a change,
//! and the ack latency of the proxy that makes the changes.
//!
//! Both sides are headcount. The run fails unless every watcher ends with the last change.

use anyhow::ensure;
use futures_util::future::try_join_all;
use headcount::proto::DataplaneProxies;
use tokio::runtime::Runtime;

use crate::{
    bare_tonic::Mode,
    kube::KubeWatch,
    server::{Server, Setup, Side},
    support::{
        process::processor_time,
        rounds::{Figure, Measure, compare},
    },
    watch::Watch,
    writer::Writer,
};

pub(crate) const ROW: &str = "kubectl";

pub(crate) const SIDES: [&str; 2] = ["100 kubectl get --watch", "100 WatchWorkloads"];

#[derive(Debug, Clone, Copy)]
enum Api {
    Kubernetes,
    Grpc,
}

struct Scale {
    rounds: usize,
    watchers: usize,
    /// Even, so that the writer ends not ready.
    flips: usize,
}

const FULL: Scale = Scale { rounds: 5, watchers: 100, flips: 5_000 };

const QUICK: Scale = Scale { rounds: 1, watchers: 10, flips: 100 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare(ROW, scale.rounds, [Api::Kubernetes, Api::Grpc], |api| {
        let server = Server::start(Setup::new(Side::Headcount, Mode::Relay).without_limits())?;
        Runtime::new()?.block_on(run(&server, api, &scale))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn run(server: &Server, api: Api, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let mut writer = Writer::connect(server.remote()).await?;
    let begin = Watch::open(server.remote()).await?.revision;
    let last = begin + scale.flips as u64;
    let watchers = match api {
        Api::Kubernetes => {
            Watchers::Kubernetes(KubeWatch::many(server.kube()?, scale.watchers, begin).await?)
        }
        Api::Grpc => Watchers::Grpc(Watch::many(server.remote(), scale.watchers).await?),
    };

    let before = processor_time(server.pid())?;
    let following = tokio::spawn(watchers.follow(last));
    let ack_latencies = writer.flip(|flips| flips == scale.flips).await?;
    let messages = following.await??;
    let spent = processor_time(server.pid())?.saturating_sub(before);

    let changes = scale.flips as f64;
    Ok(vec![
        Measure::new(
            "processor time of a change sent to all of them",
            "µs",
            spent.as_secs_f64() * 1e6 / changes,
        ),
        Measure::new(
            "messages or lines to each watcher for a change",
            "",
            messages as f64 / scale.watchers as f64 / changes,
        ),
        Measure::new("ack latency meanwhile, p50", "ms", ack_latencies.millis(50)),
        Measure::new("ack latency meanwhile, p99", "ms", ack_latencies.millis(99)),
    ])
}

enum Watchers {
    Kubernetes(Vec<KubeWatch>),
    Grpc(Vec<Watch>),
}

impl Watchers {
    /// Reads until all have the last change; returns the number of messages or lines.
    async fn follow(self, last: u64) -> anyhow::Result<usize> {
        match self {
            Self::Kubernetes(watches) => each(watches, move |watch| follow_kubernetes(watch, last)).await,
            Self::Grpc(watches) => each(watches, move |watch| follow_grpc(watch, last)).await,
        }
    }
}

/// Runs each watch in a task of its own; returns the sum of the results.
async fn each<W, F>(watches: Vec<W>, follow: impl Fn(W) -> F) -> anyhow::Result<usize>
where
    F: Future<Output = anyhow::Result<usize>> + Send + 'static,
{
    let tasks: Vec<_> = watches.into_iter().map(|watch| tokio::spawn(follow(watch))).collect();
    try_join_all(tasks).await?.into_iter().sum()
}

async fn follow_kubernetes(mut watch: KubeWatch, last: u64) -> anyhow::Result<usize> {
    let event = watch.until(last).await?;
    let cells = event["object"]["rows"][0]["cells"].as_array().into_iter().flatten();
    let counts: Vec<_> = cells.filter(|cell| cell.is_number()).collect();
    ensure!(event["type"] == "MODIFIED" && counts == [1, 0, 1], "a watcher ends with {event}");
    Ok(watch.lines)
}

async fn follow_grpc(mut watch: Watch, last: u64) -> anyhow::Result<usize> {
    watch.until(|watch| watch.revision >= last).await?;
    let counts = DataplaneProxies { connected: 1, healthy: 0, total: 1 };
    ensure!(watch.revision == last, "not every report was a visible change");
    ensure!(watch.counts.values().eq([&counts]), "a watcher ends with {:?}", watch.counts);
    Ok(watch.messages)
}
