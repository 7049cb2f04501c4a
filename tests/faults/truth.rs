//! Whether a server says what the test knows: by its watch, its List and its
//! metrics.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use headcount::proto::{ListWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    fleet::Numbers,
    follow::{Shown, follow},
    support::{DEADLINE, get},
};

/// See the module's documentation.
pub(crate) struct Truth {
    grpc: SocketAddr,
    http: SocketAddr,
    shown: watch::Receiver<Shown>,
    follower: JoinHandle<()>,
}

impl Truth {
    /// Begins to watch.
    pub(crate) fn of(grpc: SocketAddr, http: SocketAddr) -> Self {
        let (show, shown) = watch::channel(Shown::default());
        Self { grpc, http, shown, follower: tokio::spawn(follow(grpc, show)) }
    }

    /// What the watch has shown so far.
    pub(crate) fn shown(&self) -> Shown {
        self.shown.borrow().clone()
    }

    /// Waits until the watch has shown something so many times more.
    pub(crate) async fn moves(&mut self, steps: usize) {
        let wanted = self.shown.borrow().steps + steps;
        let moved = timeout(DEADLINE, self.shown.wait_for(|shown| shown.steps >= wanted)).await;
        moved.expect("the watch moves").expect("a watch");
    }

    /// Waits until the watch shows this. Then nothing that it has ever shown may
    /// have been impossible.
    pub(crate) async fn shows(&mut self, what: &str, wanted: &Numbers, within: Duration) {
        let right = timeout(within, self.shown.wait_for(|shown| shown.numbers == *wanted)).await.is_ok();
        let shown = self.shown();
        assert!(right, "{what}: not within {within:?} by the watch: {}", differences(&shown.numbers, wanted));
        assert_eq!(shown.wrong, Vec::<String>::new(), "{what}");
    }

    /// Waits until all three say this.
    pub(crate) async fn is(&mut self, what: &str, wanted: &Numbers, within: Duration) {
        let start = Instant::now();
        self.shows(what, wanted, within).await;
        // The watch has shown it, so the others say so now, if they do not lie.
        let (listed, scraped) = (self.listed().await, self.scraped().await);
        assert!(listed == *wanted, "{what}: by List, {}", differences(&listed, wanted));
        assert!(scraped == *wanted, "{what}: by the metrics, {}", differences(&scraped, wanted));
        println!("{what}: right after {:.1?}", start.elapsed());
    }

    async fn listed(&self) -> Numbers {
        let channel =
            tonic::transport::Endpoint::from_shared(format!("http://{}", self.grpc)).expect("a URL");
        let mut client = WorkloadServiceClient::new(channel.connect().await.expect("it listens"));
        let request = ListWorkloadsRequest { page_size: 1_000, ..ListWorkloadsRequest::default() };
        let listed = client.list_workloads(request).await.expect("a listing").into_inner();
        assert_eq!(listed.next_page_token, "", "one page is enough");
        let numbers = listed.workloads.into_iter().map(|workload| {
            let counts = workload.status.and_then(|status| status.dataplane_proxies).expect("numbers");
            (workload.name, [counts.connected, counts.healthy, counts.total])
        });
        numbers.collect()
    }

    pub(crate) async fn scraped(&self) -> Numbers {
        let (_, metrics) = get(self.http, "/metrics").await.expect("an answer");
        let mut numbers = Numbers::new();
        for line in metrics.lines() {
            for (place, which) in ["connected", "healthy", "registered"].into_iter().enumerate() {
                let Some(rest) = line.strip_prefix(&format!("headcount_dataplane_proxies_{which}{{")) else {
                    continue;
                };
                let (_, rest) = rest.split_once("workload=\"").expect("its label");
                let (name, count) = rest.split_once("\"} ").expect("its value");
                numbers.entry(name.to_owned()).or_default()[place] = count.parse().expect("a number");
            }
        }
        numbers
    }
}

impl Drop for Truth {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// The first few.
fn differences(said: &Numbers, wanted: &Numbers) -> String {
    let names = said.keys().chain(wanted.keys()).collect::<std::collections::BTreeSet<_>>();
    let differs = names.into_iter().filter(|name| said.get(*name) != wanted.get(*name));
    let differs = differs.map(|name| format!("{name} is {:?}, not {:?}", said.get(name), wanted.get(name)));
    let differs: Vec<_> = differs.collect();
    format!("{} differ: {}", differs.len(), differs[..differs.len().min(5)].join("; "))
}
