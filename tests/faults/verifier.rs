//! Compares the counts of a server's watch, List and metrics with the expected ones.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use headcount::proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    fleet::CountsByWorkload,
    follower::{Observed, follow},
    support::{DEADLINE, get},
};

/// A watch that runs in the background, and clients of List and the metrics.
pub(crate) struct Verifier {
    grpc: SocketAddr,
    http: SocketAddr,
    observed: watch::Receiver<Observed>,
    follower: JoinHandle<()>,
}

impl Verifier {
    /// Starts to watch.
    pub(crate) fn new(grpc: SocketAddr, http: SocketAddr) -> Self {
        let (sender, observed) = watch::channel(Observed::default());
        Self { grpc, http, observed, follower: tokio::spawn(follow(grpc, sender)) }
    }

    /// What the watch has delivered so far.
    pub(crate) fn observed(&self) -> Observed {
        self.observed.borrow().clone()
    }

    /// Waits for this many more `synced` responses.
    pub(crate) async fn wait_for_steps(&mut self, steps: usize) {
        let wanted = self.observed.borrow().steps + steps;
        let reached = timeout(DEADLINE, self.observed.wait_for(|observed| observed.steps >= wanted)).await;
        reached.expect("responses in time").expect("a running watch");
    }

    /// Waits until the watch has these counts, and asserts that it never delivered impossible ones.
    pub(crate) async fn expect_watch(&mut self, what: &str, wanted: &CountsByWorkload, within: Duration) {
        let reached = self.observed.wait_for(|observed| observed.counts == *wanted);
        let is_reached = timeout(within, reached).await.is_ok();
        let observed = self.observed();
        let differences = differences(&observed.counts, wanted);
        assert!(is_reached, "{what}: watch after {within:?}: {differences}");
        assert_eq!(observed.violations, Vec::<String>::new(), "{what}");
    }

    /// Waits until the watch has these counts, and asserts that List and the metrics have them too.
    pub(crate) async fn expect(&mut self, what: &str, wanted: &CountsByWorkload, within: Duration) {
        let start = Instant::now();
        self.expect_watch(what, wanted, within).await;
        // The watch has delivered the counts, so the others must have them already.
        let (listed, scraped) = (self.list().await, self.scrape().await);
        assert!(listed == *wanted, "{what}: List: {}", differences(&listed, wanted));
        assert!(scraped == *wanted, "{what}: metrics: {}", differences(&scraped, wanted));
        println!("{what}: exact after {:.1?}", start.elapsed());
    }

    async fn list(&self) -> CountsByWorkload {
        let channel =
            tonic::transport::Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL");
        let mut client = WorkloadServiceClient::new(channel.connect().await.expect("the server listens"));
        let request = ListWorkloadsRequest { page_size: 1_000, ..ListWorkloadsRequest::default() };
        let listed = client.list_workloads(request).await.expect("a response").into_inner();
        assert_eq!(listed.next_page_token, "", "one page");
        let counts = listed.workloads.into_iter().map(|workload| {
            let counts = workload.status.and_then(|status| status.dataplane_proxies).expect("counts");
            (workload.name, [counts.connected, counts.healthy, counts.total])
        });
        counts.collect()
    }

    pub(crate) async fn scrape(&self) -> CountsByWorkload {
        let (_, metrics) = get(self.http, "/metrics").await.expect("a response");
        let mut scraped = CountsByWorkload::new();
        for line in metrics.lines() {
            for (index, count_name) in ["connected", "healthy", "registered"].into_iter().enumerate() {
                let Some(rest) = line.strip_prefix(&format!("headcount_dataplane_proxies_{count_name}{{"))
                else {
                    continue;
                };
                let (_, rest) = rest.split_once("workload=\"").expect("a label");
                let (name, count) = rest.split_once("\"} ").expect("a value");
                scraped.entry(name.to_owned()).or_default()[index] = count.parse().expect("a number");
            }
        }
        scraped
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Formats the first five differences.
fn differences(found: &CountsByWorkload, wanted: &CountsByWorkload) -> String {
    let names = found.keys().chain(wanted.keys()).collect::<std::collections::BTreeSet<_>>();
    let differs = names.into_iter().filter(|name| found.get(*name) != wanted.get(*name));
    let differs = differs.map(|name| format!("{name} is {:?}, not {:?}", found.get(name), wanted.get(name)));
    let differs: Vec<_> = differs.collect();
    format!("{} differ: {}", differs.len(), differs[..differs.len().min(5)].join("; "))
}
