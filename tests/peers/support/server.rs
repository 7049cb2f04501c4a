//! `headcount serve` and its clients.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use super::{Counts, Ended, Program, Signal, Site, Watch, get, headcount, retry, wrap};

/// A running `headcount serve`.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) kube: SocketAddr,
    pub(crate) site: Site,
    wrapper: Vec<String>,
    flags: String,
}

impl Server {
    /// Starts a server on free ports, with these further flags.
    pub(crate) async fn start(flags: &str) -> Self {
        Self::start_at(Site::new(), flags).await
    }

    /// Starts a server that keeps its registrations over a restart.
    pub(crate) async fn start_durable(flags: &str) -> Self {
        let site = Site::new();
        let directory = site.path("data");
        Self::start_at(site, &format!("--data-dir {} {flags}", directory.display())).await
    }

    /// Starts a server at a site that has files for it already.
    pub(crate) async fn start_at(site: Site, flags: &str) -> Self {
        Self::start_in(Vec::new(), site, flags).await
    }

    /// Starts a server by a wrapper: a program and its first arguments, which are followed by the server's
    /// command. The wrapper must replace itself by the server.
    pub(crate) async fn start_in(wrapper: Vec<String>, site: Site, flags: &str) -> Self {
        let program = launch(&wrapper, &site, [site.any_port(); 3], flags);
        program.wait_for_stderr("serving").await;
        let addresses = fs::read(site.path("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_slice(&addresses).unwrap();
        let address = |of: &str| addresses[of].as_str().unwrap().parse().unwrap();
        let (grpc, http, kube) = (address("grpc"), address("http"), address("kube"));
        Self { program, grpc, http, kube, site, wrapper, flags: flags.to_owned() }
    }

    /// Ends the server by a signal, and starts it again with the same addresses and flags.
    pub(crate) async fn restart(&mut self, signal: Signal) -> Ended {
        let ended = self.stop(signal).await;
        self.start_again().await;
        ended
    }

    /// Ends the server by a signal.
    pub(crate) async fn stop(&mut self, signal: Signal) -> Ended {
        self.program.signal(signal);
        let placeholder = Program::start(&mut tokio::process::Command::new("true"));
        std::mem::replace(&mut self.program, placeholder).end().await
    }

    /// Starts a stopped server again with the same addresses and flags, and waits until it serves.
    pub(crate) async fn start_again(&mut self) {
        self.program = self.launch();
        self.program.wait_for_stderr("serving").await;
    }

    /// Starts a process with the addresses and flags of the stopped server.
    pub(crate) fn launch(&self) -> Program {
        launch(&self.wrapper, &self.site, [self.grpc, self.http, self.kube], &self.flags)
    }

    /// Starts a client command, such as `get workloads`.
    pub(crate) fn client(&self, arguments: &str) -> Program {
        Program::start(&mut headcount(&format!("{arguments} --server {}", self.grpc)))
    }

    /// Runs a client command, and waits for its end.
    pub(crate) async fn run(&self, arguments: &str) -> Ended {
        self.client(arguments).end().await
    }

    /// Starts an agent with a Dataplane file of this name and text.
    pub(crate) fn agent(&self, name: &str, text: &str) -> Program {
        let file = self.site.file(&format!("{name}.yaml"), text);
        self.client(&format!("agent --dataplane-file {}", file.display()))
    }

    /// Opens a connection for generated clients.
    pub(crate) async fn connect(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    /// The gRPC endpoint, for connections with other settings.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.grpc)).unwrap()
    }

    /// Opens a watch of the Workload of this name.
    pub(crate) async fn watch(&self, workload: &str) -> Watch {
        Watch::open(self.connect().await, workload).await
    }

    /// Waits until the server has this many watchers, which include calls of `WaitForWorkload`. A client
    /// process does not print when its watch has started.
    pub(crate) async fn wait_for_watchers(&self, count: u32) {
        self.wait_for_metric("headcount_watchers", |watchers| watchers == u64::from(count)).await;
    }

    /// Waits until all changes of registrations so far are in the data directory.
    pub(crate) async fn wait_until_stored(&self) {
        self.wait_for_metric("headcount_store_pending_records", |pending| pending == 0).await;
    }

    /// Waits until a metric without labels has such a value.
    pub(crate) async fn wait_for_metric(&self, name: &str, is_wanted: impl Fn(u64) -> bool) {
        retry(&format!("the wanted value of {name}"), async || {
            self.metric(name).await.filter(|value| is_wanted(*value)).map(drop)
        })
        .await;
    }

    /// Returns the value of a metric without labels; none if the server does not answer or has no such metric.
    pub(crate) async fn metric(&self, name: &str) -> Option<u64> {
        let (_, metrics) = get(self.http, "/metrics").await?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.parse().expect("a number"))
    }

    /// Waits until a Workload has these counts.
    pub(crate) async fn wait_for_counts(&self, workload: &str, counts: Counts) {
        self.watch(workload).await.until(Some(counts)).await;
    }
}

fn launch(wrapper: &[String], site: &Site, [grpc, http, kube]: [SocketAddr; 3], flags: &str) -> Program {
    let addresses = site.path("addresses.json");
    let serve = headcount(&format!(
        "serve --grpc-addr {grpc} --http-addr {http} --kube-api-addr {kube} --addresses-file {} {flags}",
        addresses.display()
    ));
    Program::start(&mut wrap(serve, wrapper))
}
