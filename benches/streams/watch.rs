//! A watcher, and the picture that it makes of what it is told.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use headcount::proto::{
    DataplaneProxies, WatchWorkloadsRequest, WatchWorkloadsResponse,
    workload_service_client::WorkloadServiceClient,
};
use tokio::time::timeout;
use tonic::Streaming;

use crate::load::channel;

/// For what must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Numbers of each Workload, by its name; all are in one namespace.
pub(crate) type Picture = BTreeMap<String, DataplaneProxies>;

/// Watches everything, on a connection of its own.
#[derive(Debug)]
pub(crate) struct Watch {
    deltas: Streaming<WatchWorkloadsResponse>,
    pub(crate) picture: Picture,
    /// Of the last whole step.
    pub(crate) revision: u64,
    /// Messages after the snapshot.
    pub(crate) messages: usize,
}

impl Watch {
    /// Returns when the snapshot has been read.
    pub(crate) async fn open(uri: &str) -> anyhow::Result<Self> {
        let response = WorkloadServiceClient::new(channel(uri).await?)
            .watch_workloads(WatchWorkloadsRequest::default())
            .await?;
        let mut watch =
            Self { deltas: response.into_inner(), picture: Picture::new(), revision: 0, messages: 0 };
        while !watch.next().await?.synced {}
        watch.messages = 0;
        Ok(watch)
    }

    /// The next message, which is in the picture.
    pub(crate) async fn next(&mut self) -> anyhow::Result<WatchWorkloadsResponse> {
        let delta = self.deltas.message().await?.context("the watch has ended")?;
        self.messages += 1;
        if delta.reset {
            self.picture.clear();
        }
        for gone in &delta.removed {
            self.picture.remove(&gone.name);
        }
        for workload in &delta.upserted {
            let counts = workload.status.and_then(|status| status.dataplane_proxies);
            self.picture.insert(workload.name.clone(), counts.unwrap_or_default());
        }
        if delta.synced {
            self.revision = delta.revision;
        }
        Ok(delta)
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
