//! A watch of all Workloads that comes back by itself, from where it was.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use headcount::{
    agent::endpoint,
    proto::{WatchWorkloadsRequest, WatchWorkloadsResponse, workload_service_client::WorkloadServiceClient},
};
use tokio::{sync::watch, time::sleep};
use tonic::Status;

use crate::fleet::Numbers;

/// What the watch has shown.
#[derive(Debug, Default, Clone)]
pub(crate) struct Shown {
    /// As of the last time that it was in sync.
    pub(crate) numbers: Numbers,
    /// How often it was in sync.
    pub(crate) steps: usize,
    /// Snapshots, the first included.
    pub(crate) resets: usize,
    /// What can't be true, whatever happens.
    pub(crate) wrong: Vec<String>,
    /// How often fewer were connected than before, of all together.
    pub(crate) falls: usize,
}

/// Watches for as long as somebody listens.
pub(crate) async fn follow(server: SocketAddr, shown: watch::Sender<Shown>) {
    let endpoint = endpoint(&format!("http://{server}")).expect("a server");
    let mut follower = Follower { token: String::new(), ahead: Numbers::new(), shown };
    while !follower.shown.is_closed() {
        // A server that is gone, or a watch that ended: again.
        let _ended = match endpoint.connect().await {
            Ok(channel) => follower.watch(WorkloadServiceClient::new(channel)).await,
            Err(error) => Err(Status::from_error(error.into())),
        };
        sleep(Duration::from_millis(50)).await;
    }
}

struct Follower {
    token: String,
    /// Ahead of what is shown, until the watch is in sync.
    ahead: BTreeMap<String, [u32; 3]>,
    shown: watch::Sender<Shown>,
}

impl Follower {
    async fn watch<T>(&mut self, mut client: WorkloadServiceClient<T>) -> Result<(), Status>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        T::ResponseBody: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        <T::ResponseBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let request = WatchWorkloadsRequest { resume_token: self.token.clone(), ..Default::default() };
        // What was heard of a step that never came in sync counts for nothing.
        self.ahead = self.shown.borrow().numbers.clone();
        let mut steps = client.watch_workloads(request).await?.into_inner();
        while let Some(step) = steps.message().await? {
            self.fold(step);
        }
        Ok(())
    }

    fn fold(&mut self, step: WatchWorkloadsResponse) {
        if step.reset {
            self.ahead.clear();
            self.shown.send_modify(|shown| shown.resets += 1);
        }
        for gone in step.removed {
            self.ahead.remove(&gone.name);
        }
        for workload in step.upserted {
            let counts = workload.status.and_then(|status| status.dataplane_proxies).expect("numbers");
            self.ahead.insert(workload.name, [counts.connected, counts.healthy, counts.total]);
        }
        if step.synced {
            self.token = step.resume_token;
            self.shown.send_modify(|shown| shown.show(&self.ahead));
        }
    }
}

impl Shown {
    fn show(&mut self, numbers: &Numbers) {
        let connected = |of: &Numbers| of.values().map(|[connected, ..]| connected).sum::<u32>();
        self.falls += usize::from(connected(numbers) < connected(&self.numbers));
        self.numbers.clone_from(numbers);
        self.steps += 1;
        let out_of_order = numbers
            .iter()
            .filter(|(_, [connected, healthy, total])| healthy > connected || connected > total);
        self.wrong.extend(out_of_order.map(|(name, counts)| format!("{name}: {counts:?}")));
    }
}
