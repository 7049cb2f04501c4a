//! A watcher, and the counts that it has received.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use headcount::proto::{DataplaneProxies, WorkloadFilter};
use tokio::time::timeout;
use tonic::Streaming;

use crate::{
    clients::connect,
    light_watch::{self, Delta},
    remote::Remote,
};

/// Longest time for an expected message.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Watchers that connect at the same time.
const CONCURRENT: usize = 16;

/// The counts of each Workload, by its name; all are in one namespace.
pub(crate) type CountsByName = BTreeMap<String, DataplaneProxies>;

/// A watch on a connection of its own.
#[derive(Debug)]
pub(crate) struct Watch {
    deltas: Streaming<(Delta, usize)>,
    pub(crate) counts: CountsByName,
    /// The revision of the last complete batch.
    pub(crate) revision: u64,
    /// Messages after the snapshot, and their total size.
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Watch {
    /// Opens a watch of everything and reads its snapshot.
    pub(crate) async fn open(remote: Remote) -> anyhow::Result<Self> {
        Self::filtered(remote, WorkloadFilter::default()).await
    }

    /// Opens a watch of what a filter matches, and reads its snapshot.
    pub(crate) async fn filtered(remote: Remote, filter: WorkloadFilter) -> anyhow::Result<Self> {
        let deltas = light_watch::watch(connect(remote).await?, filter).await?;
        let mut watch = Self { deltas, counts: CountsByName::new(), revision: 0, messages: 0, bytes: 0 };
        while !watch.next().await? {}
        (watch.messages, watch.bytes) = (0, 0);
        Ok(watch)
    }

    /// Opens this many watches.
    pub(crate) async fn many(remote: Remote, watchers: usize) -> anyhow::Result<Vec<Self>> {
        Self::many_filtered(remote, (0..watchers).map(|_| WorkloadFilter::default())).await
    }

    /// Opens a watch for each filter, in their order.
    pub(crate) async fn many_filtered(
        remote: Remote,
        filters: impl Iterator<Item = WorkloadFilter>,
    ) -> anyhow::Result<Vec<Self>> {
        stream::iter(filters)
            .map(|filter| Self::filtered(remote, filter))
            .buffered(CONCURRENT)
            .try_collect()
            .await
    }

    /// Applies the next message; returns whether it completes a batch.
    pub(crate) async fn next(&mut self) -> anyhow::Result<bool> {
        let (delta, size) = self.deltas.message().await?.context("the watch has ended")?;
        self.messages += 1;
        self.bytes += size;
        if delta.reset {
            self.counts.clear();
        }
        for removed in &delta.removed {
            self.counts.remove(&removed.name);
        }
        for workload in delta.upserted {
            let counts = workload.status.and_then(|status| status.dataplane_proxies);
            self.counts.insert(workload.name, counts.unwrap_or_default());
        }
        if delta.synced {
            self.revision = delta.revision;
        }
        Ok(delta.synced)
    }

    /// Applies messages until the condition holds.
    pub(crate) async fn until(&mut self, condition: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        let reading = async {
            while !condition(self) {
                self.next().await?;
            }
            anyhow::Ok(())
        };
        timeout(TIMEOUT, reading).await.context("the watch has not reached the expected state")?
    }

    /// The sum of registered.
    pub(crate) fn total(&self) -> u32 {
        self.counts.values().map(|counts| counts.total).sum()
    }

    /// The sums of connected and of healthy.
    pub(crate) fn sums(&self) -> (u32, u32) {
        self.counts.values().fold((0, 0), |(connected, healthy), counts| {
            (connected + counts.connected, healthy + counts.healthy)
        })
    }
}
