//! Many changes to many watchers: what telling costs the server's processor.
//!
//! The bare side acknowledges each report and relays it to every watcher, which
//! must get them all. headcount may tell of several by one message, so it is
//! held to the state that its watchers end with.

use std::{sync::Arc, time::Duration};

use anyhow::ensure;
use futures_util::future::try_join_all;
use headcount::proto::{DataplaneProxies, SessionRequest};
use tokio::{runtime::Runtime, sync::mpsc, time::interval};

use crate::{
    bare::Job,
    load::{self, Proxy},
    server::{SIDES, Server, Setup, Side},
    support::{
        process::processor_time,
        reach::Reach,
        rounds::{Figure, Measure, compare},
        typical,
    },
    watch::{Picture, Watch},
};

/// Between changes: a thousand in a second.
const PERIOD: Duration = Duration::from_millis(1);

struct Scale {
    rounds: usize,
    watchers: usize,
    proxies: usize,
    /// Of each proxy.
    changes: u64,
}

/// An odd number of changes for each, so that the last state is not the first.
const FULL: Scale = Scale { rounds: 5, watchers: 100, proxies: 100, changes: 51 };

const QUICK: Scale = Scale { rounds: 1, watchers: 10, proxies: 10, changes: 11 };

pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let scale = if quick { QUICK } else { FULL };
    compare("fanout", scale.rounds, SIDES, |side| {
        let server = Server::start(Setup::new(side, Job::RelayAndEcho))?;
        Runtime::new()?.block_on(run(&server, side, &scale))
    })
}

#[expect(clippy::cast_precision_loss, reason = "a figure has three digits")]
async fn run(server: &Server, side: Side, scale: &Scale) -> anyhow::Result<Vec<Measure>> {
    let uri = &server.uri();
    let mut proxies = Vec::with_capacity(scale.proxies);
    for place in 0..scale.proxies {
        proxies.push(Proxy::connect(uri, number(place)).await?);
    }
    let watchers = Watch::many(uri, scale.watchers).await?;

    let before = processor_time(server.pid())?;
    let changes = scale.changes * scale.proxies as u64;
    let expected = Arc::new(picture(scale.proxies));
    let ends = watchers.into_iter().map(|mut watch| {
        let expected = Arc::clone(&expected);
        tokio::spawn(async move {
            match side {
                Side::Headcount => {
                    let last = watch.revision + changes;
                    watch.until(|watch| watch.revision >= last).await?;
                    ensure!(watch.picture == *expected, "a watcher's numbers are wrong");
                    ensure!(watch.revision == last, "not every report was a visible change");
                }
                Side::Bare => watch.until(|watch| watch.messages as u64 == changes).await?,
            }
            Ok(watch)
        })
    });
    let ends: Vec<_> = ends.collect();
    let _open = change(proxies, scale.changes).await?;
    let watchers = try_join_all(ends).await?.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let spent = processor_time(server.pid())?.saturating_sub(before);

    let messages = watchers.iter().map(|watch| watch.messages as f64).sum::<f64>();
    let told = messages / watchers.len() as f64;
    let per_change = spent.as_secs_f64() * 1e6 / changes as f64;
    Ok(vec![
        Measure::new("processor time of a change told to 100 watchers", "µs", per_change)
            .reach(Reach::RatioAtMost(1.0)),
        Measure::new("messages to a watcher for each change", "", told / changes as f64),
    ])
}

/// Each proxy reports in turn; returns the sessions, which are still open.
async fn change(proxies: Vec<Proxy>, times: u64) -> anyhow::Result<Vec<mpsc::Sender<SessionRequest>>> {
    let mut all = Vec::with_capacity(proxies.len());
    for Proxy { says, mut hears } in proxies {
        // Whoever does not read the acks is not read from either.
        tokio::spawn(async move { while hears.message().await.is_ok_and(|ack| ack.is_some()) {} });
        all.push(says);
    }
    let mut clock = interval(PERIOD);
    for sequence in 1..=times {
        for says in &all {
            clock.tick().await;
            says.send(load::report(sequence)).await?;
        }
    }
    Ok(all)
}

/// Each proxy is alone in its workload.
fn number(place: usize) -> usize {
    place * typical::PER_WORKLOAD
}

/// What a watcher must know at the end.
fn picture(proxies: usize) -> Picture {
    let one = DataplaneProxies { connected: 1, healthy: 1, total: 1 };
    (0..proxies).map(|place| (typical::workload(number(place)), one)).collect()
}
