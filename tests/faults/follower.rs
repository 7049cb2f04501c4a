//! A watch of all Workloads that reconnects and resumes by itself.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use headcount::{
    net::client::ServerEndpoint,
    proto::{WatchWorkloadsRequest, WatchWorkloadsResponse, workload_service_client::WorkloadServiceClient},
};
use tokio::{sync::watch, time::sleep};
use tonic::Status;

use crate::fleet::CountsByWorkload;

/// What the watch has delivered so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Observed {
    /// Counts as of the last `synced` response.
    pub(crate) counts: CountsByWorkload,
    /// Number of `synced` responses.
    pub(crate) steps: usize,
    /// Number of snapshots, including the first.
    pub(crate) resets: usize,
    /// Counts that violate healthy <= connected <= total.
    pub(crate) violations: Vec<String>,
    /// How often the number of all connected proxies fell.
    pub(crate) falls: usize,
    /// How often the number of all registered proxies fell.
    pub(crate) total_falls: usize,
}

/// Watches until all receivers of `observed` are dropped.
pub(crate) async fn follow(server: SocketAddr, observed: watch::Sender<Observed>) {
    let endpoint = ServerEndpoint::plaintext(&format!("http://{server}")).expect("a server");
    let mut follower = Follower { token: String::new(), pending: CountsByWorkload::new(), observed };
    while !follower.observed.is_closed() {
        // Reconnect after every error and every end.
        let _ended = match endpoint.connect().await {
            Ok(channel) => follower.watch(WorkloadServiceClient::new(channel)).await,
            Err(error) => Err(Status::from_error(error.into())),
        };
        sleep(Duration::from_millis(50)).await;
    }
}

struct Follower {
    token: String,
    /// Counts with the responses since the last `synced` one.
    pending: BTreeMap<String, [u32; 3]>,
    observed: watch::Sender<Observed>,
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
        // Discard the responses of a step that was never `synced`.
        self.pending = self.observed.borrow().counts.clone();
        let mut responses = client.watch_workloads(request).await?.into_inner();
        while let Some(response) = responses.message().await? {
            self.apply(response);
        }
        Ok(())
    }

    fn apply(&mut self, response: WatchWorkloadsResponse) {
        if response.reset {
            self.pending.clear();
            self.observed.send_modify(|observed| observed.resets += 1);
        }
        for removed in response.removed {
            self.pending.remove(&removed.name);
        }
        for workload in response.upserted {
            let counts = workload.status.and_then(|status| status.dataplane_proxies).expect("counts");
            self.pending.insert(workload.name, [counts.connected, counts.healthy, counts.total]);
        }
        if response.synced {
            self.token = response.resume_token;
            self.observed.send_modify(|observed| observed.update(&self.pending));
        }
    }
}

impl Observed {
    fn update(&mut self, counts: &CountsByWorkload) {
        let sum =
            |counts: &CountsByWorkload, of: usize| counts.values().map(|counts| counts[of]).sum::<u32>();
        self.falls += usize::from(sum(counts, 0) < sum(&self.counts, 0));
        self.total_falls += usize::from(sum(counts, 2) < sum(&self.counts, 2));
        self.counts.clone_from(counts);
        self.steps += 1;
        let violations =
            counts.iter().filter(|(_, [connected, healthy, total])| healthy > connected || connected > total);
        self.violations.extend(violations.map(|(name, counts)| format!("{name}: {counts:?}")));
    }
}
