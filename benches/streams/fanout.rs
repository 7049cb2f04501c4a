//! The server's CPU time for sending many changes to many watchers.
//!
//! Bare tonic acknowledges each report and relays it to every watcher; the run fails unless every watcher
//! receives all of them. headcount may conflate several changes in one message; the run fails unless every
//! watcher ends with the exact counts at the exact revision.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use futures_util::future::try_join_all;
use headcount::proto::{DataplaneProxies, SessionRequest};
use tokio::{runtime::Runtime, sync::mpsc, time::interval};

use crate::{
    bare_tonic::Mode,
    clients::{self, Proxy},
    server::{SIDES, Server, Setup, Side},
    support::{
        process::processor_time,
        rounds::{Figure, Measure, compare},
        target::Target,
        typical,
    },
    watch::{CountsByName, Watch},
};

/// Time between changes: 1,000 per second.
const PERIOD: Duration = Duration::from_millis(1);

struct Scale {
    rounds: usize,
    watchers: usize,
    proxies: usize,
    /// Changes of each proxy.
    changes: u64,
}

/// The number of changes is odd, so that the last state differs from the first.
const FULL: Scale = Scale { rounds: 5, watchers: 100, proxies: 100, changes: 51 };

const QUICK: Scale = Scale { rounds: 1, watchers: 10, proxies: 10, changes: 11 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("fanout", scale.rounds, SIDES, |side| {
        let server = Server::start(Setup::new(side, Mode::RelayAndAck).without_limits())?;
        Runtime::new()?.block_on(run(&server, side, &scale))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn run(server: &Server, side: Side, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let remote = server.remote();
    let mut proxies = Vec::with_capacity(scale.proxies);
    for index in 0..scale.proxies {
        proxies.push(Proxy::connect(remote, number(index)).await?);
    }
    let watchers = Watch::many(remote, scale.watchers).await?;

    let before = processor_time(server.pid())?;
    let changes = scale.changes * scale.proxies as u64;
    let expected = Arc::new(expected_counts(scale.proxies));
    let following = watchers.into_iter().map(|mut watch| {
        let expected = Arc::clone(&expected);
        tokio::spawn(async move {
            match side {
                Side::Headcount => {
                    let last = watch.revision + changes;
                    watch.until(|watch| watch.revision >= last).await?;
                    ensure!(watch.counts == *expected, "a watcher's counts are wrong");
                    ensure!(watch.revision == last, "not every report was a visible change");
                }
                Side::BareTonic => watch.until(|watch| watch.messages as u64 == changes).await?,
            }
            Ok(watch)
        })
    });
    let following: Vec<_> = following.collect();
    let _open = flip_all(proxies, scale.changes).await?;
    let watchers = try_join_all(following).await?.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let spent = processor_time(server.pid())?.saturating_sub(before);

    let messages = watchers.iter().map(|watch| watch.messages as f64).sum::<f64>();
    let messages_per_watcher = messages / watchers.len() as f64;
    let per_change = spent.as_secs_f64() * 1e6 / changes as f64;
    Ok(vec![
        Measure::new("processor time of a change sent to 100 watchers", "µs", per_change)
            .target(Target::RatioAtMost(1.0)),
        Measure::new("messages to a watcher for each change", "", messages_per_watcher / changes as f64),
    ])
}

/// Sends a report from each proxy in turn; returns the sessions, which are still open.
async fn flip_all(proxies: Vec<Proxy>, times: u64) -> anyhow::Result<Vec<mpsc::Sender<SessionRequest>>> {
    let mut sessions = Vec::with_capacity(proxies.len());
    for Proxy { requests, mut responses } in proxies {
        // The server stops reading from a client that does not read its acks.
        tokio::spawn(async move { while responses.message().await.is_ok_and(|ack| ack.is_some()) {} });
        sessions.push(requests);
    }
    let mut clock = interval(PERIOD);
    for sequence in 1..=times {
        for requests in &sessions {
            clock.tick().await;
            requests.send(clients::report(sequence)).await?;
        }
    }
    Ok(sessions)
}

/// The number of the dataplane with this index: each one has a workload of its own.
fn number(index: usize) -> usize {
    index * typical::PER_WORKLOAD
}

/// The counts that a watcher must have at the end.
fn expected_counts(proxies: usize) -> CountsByName {
    let one = DataplaneProxies { connected: 1, healthy: 1, total: 1 };
    (0..proxies).map(|index| (typical::workload(number(index)), one)).collect()
}
