//! A watch of one Workload.

use tokio::time::timeout;
use tonic::{Status, Streaming, transport::Channel};

use headcount::proto::{
    WatchWorkloadsRequest, WatchWorkloadsResponse, WorkloadFilter,
    workload_service_client::WorkloadServiceClient,
};

use super::DEADLINE;

/// Connected, healthy, total, in the order of the table that `get workloads` prints.
pub(crate) type Counts = [u32; 3];

/// A watch with the generated client, and all counts that it has delivered.
#[derive(Debug)]
pub(crate) struct Watch {
    messages: Streaming<WatchWorkloadsResponse>,
    /// None while the Workload does not exist.
    now: Option<Counts>,
    seen: Vec<Option<Counts>>,
    uid: String,
}

impl Watch {
    /// Opens a watch of the Workload of this name in any namespace, and reads the snapshot.
    pub(crate) async fn open(channel: Channel, workload: &str) -> Self {
        let filter = WorkloadFilter { name: workload.to_owned(), ..WorkloadFilter::default() };
        let request = WatchWorkloadsRequest { filter: Some(filter), ..WatchWorkloadsRequest::default() };
        let messages =
            WorkloadServiceClient::new(channel).watch_workloads(request).await.unwrap().into_inner();
        let mut watch = Self { messages, now: None, seen: Vec::new(), uid: String::new() };
        watch.receive().await.unwrap();
        watch
    }

    /// Reads until the Workload has these counts, or until it does not exist.
    pub(crate) async fn until(&mut self, counts: Option<Counts>) {
        let reached = timeout(DEADLINE, async {
            while self.now != counts {
                self.receive().await.unwrap();
            }
        });
        let reached = reached.await.is_ok();
        assert!(reached, "expected {counts:?} (connected, healthy, total), received {:?}", self.seen);
    }

    /// Reads to the end of the stream, and returns its status.
    pub(crate) async fn end(mut self) -> Status {
        let end = timeout(DEADLINE, async {
            loop {
                if let Err(status) = self.receive().await {
                    return status;
                }
            }
        });
        end.await.expect("the end of the watch")
    }

    /// All counts that the watch has delivered, without repetitions.
    pub(crate) fn seen(&self) -> &[Option<Counts>] {
        &self.seen
    }

    /// The uid of the Workload that the watch has delivered last; empty if none.
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    async fn receive(&mut self) -> Result<(), Status> {
        let message = self.messages.message().await?.ok_or_else(|| Status::ok("no error"))?;
        if message.reset || !message.removed.is_empty() {
            self.now = None;
        }
        for workload in message.upserted {
            let counts = workload.status.unwrap().dataplane_proxies.unwrap();
            self.now = Some([counts.connected, counts.healthy, counts.total]);
            self.uid = workload.uid;
        }
        if message.synced && self.seen.last() != Some(&self.now) {
            self.seen.push(self.now);
        }
        Ok(())
    }
}
