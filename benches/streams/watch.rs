//! A watcher, and the picture that it makes of what it is told.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use headcount::proto::DataplaneProxies;
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    heard::{self, Heard},
    load::channel,
};

/// For what must come.
const PATIENCE: Duration = Duration::from_mins(1);
/// Watchers that come at the same time.
const AT_ONCE: usize = 16;

/// Numbers of each Workload, by its name; all are in one namespace.
pub(crate) type Picture = BTreeMap<String, DataplaneProxies>;

/// Watches everything, on a connection of its own.
#[derive(Debug)]
pub(crate) struct Watch {
    deltas: Streaming<(Heard, usize)>,
    pub(crate) picture: Picture,
    /// Of the last whole step.
    pub(crate) revision: u64,
    /// Messages after the snapshot, and their size together.
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Watch {
    /// Returns when the snapshot has been read.
    pub(crate) async fn open(uri: &str) -> anyhow::Result<Self> {
        let deltas = heard::watch(channel(uri).await?).await?;
        let mut watch = Self { deltas, picture: Picture::new(), revision: 0, messages: 0, bytes: 0 };
        while !watch.next().await? {}
        (watch.messages, watch.bytes) = (0, 0);
        Ok(watch)
    }

    /// So many of them.
    pub(crate) async fn many(uri: &str, watchers: usize) -> anyhow::Result<Vec<Self>> {
        stream::iter(0..watchers).map(|_| Self::open(uri)).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Takes the next message into the picture; true if a step is whole with it.
    pub(crate) async fn next(&mut self) -> anyhow::Result<bool> {
        let (delta, size) = self.deltas.message().await?.context("the watch has ended")?;
        self.messages += 1;
        self.bytes += size;
        if delta.reset {
            self.picture.clear();
        }
        for gone in &delta.removed {
            self.picture.remove(&gone.name);
        }
        for workload in delta.upserted {
            let counts = workload.status.and_then(|status| status.dataplane_proxies);
            self.picture.insert(workload.name, counts.unwrap_or_default());
        }
        if delta.synced {
            self.revision = delta.revision;
        }
        Ok(delta.synced)
    }

    /// Reads until this is so.
    pub(crate) async fn until(&mut self, enough: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let reading = async {
            while !enough(self) {
                self.next().await?;
            }
            anyhow::Ok(())
        };
        timeout(PATIENCE, reading).await.context("the watch does not come to what it must")?
    }

    /// Connected, and healthy, of all Workloads.
    pub(crate) fn sums(&self) -> (u32, u32) {
        self.picture.values().fold((0, 0), |(connected, healthy), counts| {
            (connected + counts.connected, healthy + counts.healthy)
        })
    }
}
