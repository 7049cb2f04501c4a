//! What a watcher sees of one Workload.

use tokio::time::timeout;
use tonic::{Status, Streaming, transport::Channel};

use headcount::proto::{
    WatchWorkloadsRequest, WatchWorkloadsResponse, WorkloadFilter,
    workload_service_client::WorkloadServiceClient,
};

use super::DEADLINE;

/// Connected, healthy, total: in the order of the table.
pub(crate) type Counts = [u32; 3];

/// A watch by the generated client.
pub(crate) struct Watch {
    steps: Streaming<WatchWorkloadsResponse>,
    /// None while there is no Workload.
    now: Option<Counts>,
    seen: Vec<Option<Counts>>,
}

impl Watch {
    /// Watches a Workload of any namespace, and reads the snapshot.
    pub(crate) async fn open(channel: Channel, workload: &str) -> Self {
        let filter = WorkloadFilter { name: workload.to_owned(), ..WorkloadFilter::default() };
        let request = WatchWorkloadsRequest { filter: Some(filter), ..WatchWorkloadsRequest::default() };
        let steps = WorkloadServiceClient::new(channel).watch_workloads(request).await.unwrap().into_inner();
        let mut watch = Self { steps, now: None, seen: Vec::new() };
        watch.step().await.unwrap();
        watch
    }

    /// Waits until it shows these numbers.
    pub(crate) async fn until(&mut self, counts: Option<Counts>) {
        let reached = timeout(DEADLINE, async {
            while self.now != counts {
                self.step().await.unwrap();
            }
        });
        let reached = reached.await.is_ok();
        assert!(reached, "{counts:?} (connected, healthy, total) was to come; it came {:?}", self.seen);
    }

    /// The status that ends it.
    pub(crate) async fn end(mut self) -> Status {
        let end = timeout(DEADLINE, async {
            loop {
                if let Err(status) = self.step().await {
                    return status;
                }
            }
        });
        end.await.expect("the end of the watch")
    }

    /// All that it has shown, each once.
    pub(crate) fn seen(&self) -> &[Option<Counts>] {
        &self.seen
    }

    async fn step(&mut self) -> Result<(), Status> {
        let step = self.steps.message().await?.ok_or_else(|| Status::ok("an end without a status"))?;
        if step.reset || !step.removed.is_empty() {
            self.now = None;
        }
        for workload in step.upserted {
            let counts = workload.status.unwrap().dataplane_proxies.unwrap();
            self.now = Some([counts.connected, counts.healthy, counts.total]);
        }
        if step.synced && self.seen.last() != Some(&self.now) {
            self.seen.push(self.now);
        }
        Ok(())
    }
}
