//! What a watcher says of the simulated workloads, added up.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::watch, time::sleep};
use tonic::{Status, transport::Channel};

use crate::proto::{
    DataplaneProxies, WatchWorkloadsRequest, WatchWorkloadsResponse, WorkloadFilter,
    workload_service_client::WorkloadServiceClient,
};

/// Before the watch is opened anew.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A message may carry a whole snapshot step; the default of 4 MiB would do for
/// usual names only.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The sums of connected, healthy and total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) connected: u64,
    pub(super) healthy: u64,
    pub(super) total: u64,
}

/// Watches until dropped, and shows the sums after each message.
pub(super) async fn follow(channel: Channel, filter: WorkloadFilter, sums: watch::Sender<Sums>) {
    let mut known = Known::default();
    loop {
        let ended = known.follow(&channel, &filter, &sums).await;
        tracing::debug!(?ended, "the watch ended");
        sleep(RETRY_AFTER).await;
    }
}

#[derive(Default)]
struct Known {
    workloads: BTreeMap<String, DataplaneProxies>,
    resume_token: String,
}

impl Known {
    async fn follow(
        &mut self,
        channel: &Channel,
        filter: &WorkloadFilter,
        sums: &watch::Sender<Sums>,
    ) -> Result<(), Status> {
        let mut client = WorkloadServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let request =
            WatchWorkloadsRequest { filter: Some(filter.clone()), resume_token: self.resume_token.clone() };
        let mut steps = client.watch_workloads(request).await?.into_inner();
        while let Some(step) = steps.message().await? {
            self.take(step);
            sums.send_replace(self.sums());
        }
        Ok(())
    }

    fn take(&mut self, step: WatchWorkloadsResponse) {
        if step.reset {
            self.workloads.clear();
        }
        for workload in step.upserted {
            let counts = workload.status.and_then(|status| status.dataplane_proxies).unwrap_or_default();
            self.workloads.insert(workload.name, counts);
        }
        for gone in step.removed {
            self.workloads.remove(&gone.name);
        }
        if step.synced {
            self.resume_token = step.resume_token;
        }
    }

    fn sums(&self) -> Sums {
        self.workloads.values().fold(Sums::default(), |sums, counts| Sums {
            connected: sums.connected + u64::from(counts.connected),
            healthy: sums.healthy + u64::from(counts.healthy),
            total: sums.total + u64::from(counts.total),
        })
    }
}
