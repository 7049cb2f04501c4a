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

/// What the Dataplane files say.
pub(crate) const WORKLOAD: &str = "demo-workload";
/// What "at once" means where processes and sockets are real.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);

/// See the module's documentation.
pub(crate) struct Stage {
    pub(crate) server: Server,
    program: PathBuf,
}

/// An Envoy and what is behind it.
pub(crate) struct Proxy {
    pub(crate) envoy: Envoy,
    pub(crate) application: Application,
}

impl Stage {
    /// A server with default settings and these flags; none if there is no Envoy.
    pub(crate) async fn set(flags: &str) -> Option<Self> {
        let program = envoy::find()?;
        Some(Self { server: Server::start(flags).await, program })
    }

    /// The Dataplane file of a proxy of the workload, checked by HTTP.
    pub(crate) fn dataplane(name: &str, application: &Application) -> String {
        service(name, application.address, &format!("http: {{path: {HEALTHZ}}}"))
    }

    /// An Envoy for a Dataplane file.
    pub(crate) async fn envoy(&self, name: &str, dataplane: &str) -> Envoy {
        let (site, admin) = (&self.server.site, self.server.site.free_port());
        let control_plane = self.server.grpc.to_string();
        let bootstrap = bootstrap::print(site, name, dataplane, &control_plane, admin).await;
        Envoy::start(&self.program, bootstrap, admin)
    }

    /// An Envoy that says this of itself, whatever it is.
    pub(crate) async fn envoy_that_says(&self, name: &str, node: &serde_json::Value) -> Envoy {
        let admin = self.server.site.free_port();
        let bootstrap = bootstrap::with_node(&self.server, name, node, admin).await;
        Envoy::start(&self.program, bootstrap, admin)
    }

    /// An Envoy with an application.
    pub(crate) async fn proxy(&self, name: &str) -> Proxy {
        let application = Application::start(&self.server.site).await;
        let envoy = self.envoy(name, &Self::dataplane(name, &application)).await;
        Proxy { envoy, application }
    }

    /// Three of them, once all is well, and a watch that has seen it come.
    pub(crate) async fn three(&self) -> ([Proxy; 3], Watch) {
        let mut watch = self.server.watch(WORKLOAD).await;
        let (one, two, three) = tokio::join!(self.proxy("web-1"), self.proxy("web-2"), self.proxy("web-3"));
        watch.until(Some([3, 3, 3])).await;
        never_falls(&watch);
        (([one, two, three]), watch)
    }

    /// Waits until a watch shows these numbers, and nothing else before them, in
    /// less than a time; then List and the metrics have to say the same. How long
    /// it took.
    pub(crate) async fn shows(
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
        self.agrees(counts).await;
        after
    }

    /// Asserts that List and the metrics say what the watch says.
    pub(crate) async fn agrees(&self, [connected, healthy, total]: Counts) {
        let table = self.server.run("get workloads").await.expect_exit(0).out;
        let row: Vec<_> = table.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        let counts = [connected, healthy, total].map(|count| count.to_string());
        assert_eq!(row[3..6], counts, "{table}");
        assert_eq!(scraped(self.server.http).await, counts);
    }
}

/// No number was ever lower than before.
pub(crate) fn never_falls(watch: &Watch) {
    let seen: Vec<_> = watch.seen().iter().map(|counts| counts.unwrap_or_default()).collect();
    let falls = |pair: &[Counts]| pair[0].iter().zip(pair[1]).any(|(before, after)| *before > after);
    assert!(!seen.windows(2).any(falls), "{seen:?}");
}

/// No proxy was ever counted twice.
pub(crate) fn never_more_than(watch: &Watch, proxies: u32) {
    assert!(watch.seen().iter().flatten().flatten().all(|count| *count <= proxies), "{:?}", watch.seen());
}

async fn scraped(http: SocketAddr) -> [String; 3] {
    let (_, metrics) = get(http, "/metrics").await.expect("an answer");
    ["connected", "healthy", "registered"].map(|which| {
        let series = format!("headcount_dataplane_proxies_{which}{{");
        let mut lines = metrics.lines().filter(|line| line.starts_with(&series) && line.contains(WORKLOAD));
        let value = lines.next().and_then(|line| line.rsplit(' ').next());
        value.unwrap_or_default().to_owned()
    })
}
