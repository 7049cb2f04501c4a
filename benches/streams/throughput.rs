//! Reports acknowledged per second: many sessions, each of which sends a report when the last one has been
//! acknowledged. Each report flips the health, and one watcher follows all of them.
//!
//! Bare tonic only acknowledges, and its watcher receives nothing. To relay each report would be more work
//! than headcount's, whose watcher receives many changes in one message. The run fails unless every report
//! gets a revision and the watcher ends with the exact counts.

use std::{
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use headcount::proto::DataplaneProxies;
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};

use crate::{
    bare_tonic::Mode,
    clients::{self, Proxy},
    rates::Rates,
    server::{SIDES, Server, Setup, Side},
    support::{
        process::processor_time,
        rounds::{Figure, Measure, compare},
        target::Target,
        typical,
    },
    watch::{CountsByName, Watch},
};

/// Longest wait for the last ack when the time is over.
const TIMEOUT: Duration = Duration::from_secs(10);

struct Scale {
    rounds: usize,
    proxies: usize,
    warm_up: Duration,
    time: Duration,
}

const FULL: Scale =
    Scale { rounds: 7, proxies: 1_000, warm_up: Duration::from_secs(1), time: Duration::from_secs(3) };

const QUICK: Scale =
    Scale { rounds: 1, proxies: 50, warm_up: Duration::from_millis(50), time: Duration::from_millis(300) };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("throughput", scale.rounds, SIDES, |side| {
        let server = Server::start(Setup::new(side, Mode::Ack).without_limits())?;
        let Rates { per_second, spent } = Runtime::new()?.block_on(run(&server, side, &scale))?;
        Ok(vec![
            Measure::new("reports acknowledged, 1,000 connections", "per second", per_second)
                .target(Target::RatioAtLeast(0.95)),
            Measure::new("the server's processor time for each", "µs", spent)
                .target(Target::RatioAtMost(1.05)),
        ])
    })
}

/// Reports per second that a headcount server acknowledges.
pub(crate) fn per_second(server: &Server, quick: bool) -> anyhow::Result<f64> {
    let scale = if quick { QUICK } else { FULL };
    Ok(Runtime::new()?.block_on(run(server, Side::Headcount, &scale))?.per_second)
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn run(server: &Server, side: Side, scale: &Scale) -> anyhow::Result<Rates> {
    let remote = server.remote();
    let mut watch = Watch::open(remote).await?;
    let proxies = clients::connect_many(remote, 0..scale.proxies, scale.proxies).await?;
    if side == Side::Headcount {
        watch.until(|watch| watch.sums().0 as usize == scale.proxies).await?;
    }
    let joined = watch.revision;

    let (stop, acks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let following = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move { follow(watch, &stop).await }
    });
    let reporters: Vec<_> = proxies
        .into_iter()
        .map(|proxy| tokio::spawn(report(proxy, Arc::clone(&stop), Arc::clone(&acks))))
        .collect();
    sleep(scale.warm_up).await;
    let (start, before, spent_before) = (Instant::now(), acks.load(Relaxed), processor_time(server.pid())?);
    sleep(scale.time).await;
    let (acked, took) = ((acks.load(Relaxed) - before) as f64, start.elapsed());
    let spent = processor_time(server.pid())?.saturating_sub(spent_before);
    stop.store(true, SeqCst);

    let mut reports = Vec::with_capacity(reporters.len());
    // The sessions stay open, so that the counts do not change.
    let mut open = Vec::with_capacity(reporters.len());
    for reporter in reporters {
        let (proxy, count) = timeout(TIMEOUT, reporter).await.context("an ack is missing")???;
        open.push(proxy);
        reports.push(count);
    }
    if side == Side::Headcount {
        let mut watch = following.await??;
        let revision = joined + reports.iter().sum::<u64>();
        watch.until(|watch| watch.revision >= revision).await?;
        ensure!(watch.revision == revision, "not every report was a visible change");
        ensure!(watch.counts == expected_counts(&reports), "the watcher's counts are wrong");
    }
    Ok(Rates { per_second: acked / took.as_secs_f64(), spent: spent.as_secs_f64() * 1e6 / acked })
}

/// Reads the watch until it is stopped.
async fn follow(mut watch: Watch, stop: &AtomicBool) -> anyhow::Result<Watch> {
    while !stop.load(SeqCst) {
        watch.next().await?;
    }
    Ok(watch)
}

/// Sends reports until it is stopped; returns their number.
async fn report(
    mut proxy: Proxy,
    stop: Arc<AtomicBool>,
    acks: Arc<AtomicU64>,
) -> anyhow::Result<(Proxy, u64)> {
    let mut sequence = 0;
    while !stop.load(Relaxed) {
        sequence += 1;
        proxy.report(sequence).await?;
        acks.fetch_add(1, Relaxed);
    }
    Ok((proxy, sequence))
}

/// The counts that a watcher must have after this many reports of each proxy.
fn expected_counts(reports: &[u64]) -> CountsByName {
    let mut expected = CountsByName::new();
    for (number, reports) in reports.iter().enumerate() {
        let counts: &mut DataplaneProxies = expected.entry(typical::workload(number)).or_default();
        counts.connected += 1;
        counts.total += 1;
        counts.healthy += u32::from(reports % 2 == 1);
    }
    expected
}
