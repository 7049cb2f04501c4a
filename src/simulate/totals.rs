//! The totals of the simulated workloads, as a watch reports them.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::watch, time::sleep};
use tonic::Status;

use crate::{
    net::client::Connection,
    proto::{
        DataplaneProxies, WatchWorkloadsRequest, WatchWorkloadsResponse, WorkloadFilter,
        watch_stream::{KEEPALIVE_INTERVAL, WatchStream},
        workload_service_client::WorkloadServiceClient,
    },
};

/// Wait before a watch that ended is opened again.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// A message may contain a snapshot of many Workloads with long names, which is more than tonic's
/// default of 4 MiB.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// Dataplanes of all workloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) connected: u64,
    pub(super) healthy: u64,
    /// Registered, connected or not.
    pub(super) total: u64,
}

impl Totals {
    /// How far the counts are from others; 0 if they are the same.
    pub(super) fn distance(self, other: Self) -> u64 {
        self.connected.abs_diff(other.connected)
            + self.healthy.abs_diff(other.healthy)
            + self.total.abs_diff(other.total)
    }
}

/// Watches Workloads until dropped, and publishes the totals after each message.
pub(super) async fn follow(
    connection: Connection,
    filter: WorkloadFilter,
    totals: watch::Sender<Option<Totals>>,
) {
    let mut replica = Replica::default();
    loop {
        let ended = replica.watch(&connection, &filter, &totals).await;
        tracing::debug!(?ended, "the watch ended");
        sleep(RETRY_DELAY).await;
    }
}

/// The watched Workloads.
#[derive(Default)]
struct Replica {
    workloads: BTreeMap<String, DataplaneProxies>,
    resume_token: String,
}

impl Replica {
    async fn watch(
        &mut self,
        connection: &Connection,
        filter: &WorkloadFilter,
        totals: &watch::Sender<Option<Totals>>,
    ) -> Result<(), Status> {
        let mut client =
            WorkloadServiceClient::new(connection.clone()).max_decoding_message_size(MAX_MESSAGE);
        let request = WatchWorkloadsRequest {
            filter: Some(filter.clone()),
            resume_token: self.resume_token.clone(),
            keepalive_interval: Some(KEEPALIVE_INTERVAL),
        };
        let mut messages = WatchStream::open(client.watch_workloads(request)).await?;
        while let Some(message) = messages.message().await? {
            self.apply(message);
            totals.send_replace(Some(self.totals()));
        }
        Ok(())
    }

    fn apply(&mut self, message: WatchWorkloadsResponse) {
        if message.reset {
            self.workloads.clear();
        }
        for workload in message.upserted {
            let counts = workload.status.and_then(|status| status.dataplane_proxies).unwrap_or_default();
            self.workloads.insert(workload.name, counts);
        }
        for removed in message.removed {
            self.workloads.remove(&removed.name);
        }
        if message.synced {
            self.resume_token = message.resume_token;
        }
    }

    fn totals(&self) -> Totals {
        self.workloads.values().fold(Totals::default(), |totals, counts| Totals {
            connected: totals.connected + u64::from(counts.connected),
            healthy: totals.healthy + u64::from(counts.healthy),
            total: totals.total + u64::from(counts.total),
        })
    }
}
