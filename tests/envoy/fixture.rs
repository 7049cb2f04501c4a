//! A server, and Envoys of one workload with an application each.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    application::{Application, HEALTHZ},
    bootstrap,
    envoy::{self, Envoy},
    support::{Counts, Server, Watch, get, service},
};

/// The workload of the Dataplane files.
pub(crate) const WORKLOAD: &str = "demo-workload";
/// Longest time for an immediate effect of real processes and sockets.
pub(crate) const IMMEDIATE: Duration = Duration::from_secs(1);

/// A server, and the path of the Envoy binary.
pub(crate) struct Fixture {
    pub(crate) server: Server,
    envoy_binary: PathBuf,
}

/// An Envoy and the application behind it.
pub(crate) struct Proxy {
    pub(crate) envoy: Envoy,
    pub(crate) application: Application,
}

impl Fixture {
    /// Starts a server with these flags; returns none if there is no Envoy binary.
    pub(crate) async fn start(flags: &str) -> Option<Self> {
        let envoy_binary = envoy::find()?;
        Some(Self { server: Server::start(flags).await, envoy_binary })
    }

    /// Starts a server that keeps its registrations over a restart.
    pub(crate) async fn start_durable(flags: &str) -> Option<Self> {
        let envoy_binary = envoy::find()?;
        Some(Self { server: Server::start_durable(flags).await, envoy_binary })
    }

    /// A Dataplane file of the workload, whose application is checked by HTTP.
    pub(crate) fn dataplane(name: &str, application: &Application) -> String {
        service(name, application.address, &format!("http: {{path: {HEALTHZ}}}"))
    }

    /// Starts an Envoy with the bootstrap of a Dataplane file.
    pub(crate) async fn envoy(&self, name: &str, dataplane: &str) -> Envoy {
        let (site, admin) = (&self.server.site, self.server.site.free_port());
        let control_plane = self.server.grpc.to_string();
        let bootstrap = bootstrap::print(site, name, dataplane, &control_plane, admin).await;
        Envoy::start(&self.envoy_binary, bootstrap, admin)
    }

    /// Starts an Envoy that can be restarted by [`Envoy::hot_restart`].
    pub(crate) async fn hot_restartable_envoy(&self, name: &str, dataplane: &str) -> Envoy {
        let (site, admin) = (&self.server.site, self.server.site.free_port());
        let control_plane = self.server.grpc.to_string();
        let bootstrap = bootstrap::print(site, name, dataplane, &control_plane, admin).await;
        Envoy::start_hot_restartable(&self.envoy_binary, bootstrap, admin)
    }

    /// Starts an Envoy with this `node`, which may be invalid.
    pub(crate) async fn envoy_with_node(&self, name: &str, node: &serde_json::Value) -> Envoy {
        let admin = self.server.site.free_port();
        let bootstrap = bootstrap::with_node(&self.server, name, node, admin).await;
        Envoy::start(&self.envoy_binary, bootstrap, admin)
    }

    /// Starts an application and its Envoy.
    pub(crate) async fn proxy(&self, name: &str) -> Proxy {
        let application = Application::start(&self.server.site).await;
        let envoy = self.envoy(name, &Self::dataplane(name, &application)).await;
        Proxy { envoy, application }
    }

    /// Starts three proxies and waits until all are healthy. Returns them with a watch that has seen the
    /// counts grow.
    pub(crate) async fn three_proxies(&self) -> ([Proxy; 3], Watch) {
        let mut watch = self.server.watch(WORKLOAD).await;
        let (one, two, three) = tokio::join!(self.proxy("web-1"), self.proxy("web-2"), self.proxy("web-3"));
        watch.until(Some([3, 3, 3])).await;
        assert_never_fell(&watch);
        (([one, two, three]), watch)
    }

    /// Waits until the watch delivers `counts`, and asserts that this takes less than `within`, that the
    /// watch delivers no other counts before, and that List and the metrics agree. Returns how long it took.
    pub(crate) async fn expect_counts(
        &self,
        what: &str,
        watch: &mut Watch,
        counts: Counts,
        within: Duration,
    ) -> Duration {
        let (before, start) = (watch.seen().len(), Instant::now());
        watch.until(Some(counts)).await;
        let after = start.elapsed();
        println!("{what}: {counts:?} after {after:.1?}");
        assert!(after < within, "{what}: {after:?}");
        assert_eq!(watch.seen()[before..], [Some(counts)], "{what}");
        self.assert_list_and_metrics(counts).await;
        after
    }

    /// Asserts that `get workloads` and the metrics have these counts.
    pub(crate) async fn assert_list_and_metrics(&self, [connected, healthy, total]: Counts) {
        let table = self.server.run("get workloads").await.expect_exit(0).out;
        let row: Vec<_> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        let counts = [connected, healthy, total].map(|count| count.to_string());
        assert_eq!(row[3..6], counts, "{table}");
        assert_eq!(scrape(self.server.http).await, counts);
    }
}

/// Asserts that no count ever fell.
pub(crate) fn assert_never_fell(watch: &Watch) {
    let seen: Vec<_> = watch.seen().iter().map(|counts| counts.unwrap_or_default()).collect();
    let fell = |pair: &[Counts]| pair[0].iter().zip(pair[1]).any(|(before, after)| *before > after);
    assert!(!seen.windows(2).any(fell), "{seen:?}");
}

/// Asserts that no count ever exceeded the number of proxies: none was counted twice.
pub(crate) fn assert_never_above(watch: &Watch, proxies: u32) {
    assert!(watch.seen().iter().flatten().flatten().all(|count| *count <= proxies), "{:?}", watch.seen());
}

/// The counts of [`WORKLOAD`] in the metrics: connected, healthy, registered.
pub(crate) async fn scrape(http: SocketAddr) -> [String; 3] {
    let (_, metrics) = get(http, "/metrics").await.expect("a response");
    ["connected", "healthy", "registered"].map(|count| {
        let series = format!("headcount_dataplane_proxies_{count}{{");
        let mut lines = metrics.lines().filter(|line| line.starts_with(&series) && line.contains(WORKLOAD));
        let value = lines.next().and_then(|line| line.rsplit(' ').next());
        value.unwrap_or_default().to_owned()
    })
}
