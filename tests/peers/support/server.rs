//! `headcount serve` and its clients.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use super::{Counts, Ended, Program, Signal, Site, Watch, get, headcount, retry};

/// A running `headcount serve`.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) kube: SocketAddr,
    pub(crate) site: Site,
    flags: String,
}

impl Server {
    /// Starts a server on free ports, with these further flags.
    pub(crate) async fn start(flags: &str) -> Self {
        Self::start_at(Site::new(), flags).await
    }

    /// Starts a server at a site that has files for it already.
    pub(crate) async fn start_at(site: Site, flags: &str) -> Self {
        let program = serve(&site, [site.any_port(); 3], flags).await;
        let addresses = fs::read(site.path("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_slice(&addresses).unwrap();
        let address = |of: &str| addresses[of].as_str().unwrap().parse().unwrap();
        let (grpc, http, kube) = (address("grpc"), address("http"), address("kube"));
        Self { program, grpc, http, kube, site, flags: flags.to_owned() }
    }

    /// Ends the server by a signal, and starts it again with the same addresses and flags.
    pub(crate) async fn restart(&mut self, signal: Signal) -> Ended {
        self.program.signal(signal);
        let placeholder = Program::start(&mut tokio::process::Command::new("true"));
        let ended = std::mem::replace(&mut self.program, placeholder).end().await;
        self.program = serve(&self.site, [self.grpc, self.http, self.kube], &self.flags).await;
        ended
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
        let line = format!("headcount_watchers {count}");
        retry(&line, async || {
            let (_, metrics) = get(self.http, "/metrics").await?;
            metrics.lines().any(|one| one == line).then_some(())
        })
        .await;
    }

    /// Waits until a Workload has these counts.
    pub(crate) async fn wait_for_counts(&self, workload: &str, counts: Counts) {
        self.watch(workload).await.until(Some(counts)).await;
    }
}

async fn serve(site: &Site, [grpc, http, kube]: [SocketAddr; 3], flags: &str) -> Program {
    let addresses = site.path("addresses.json");
    let program = Program::start(&mut headcount(&format!(
        "serve --grpc-addr {grpc} --http-addr {http} --kube-api-addr {kube} --addresses-file {} {flags}",
        addresses.display()
    )));
    program.wait_for_stderr("serving").await;
    program
}
