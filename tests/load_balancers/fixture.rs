//! A server behind a balancer, and its clients.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};

use crate::{
    balancer::{Balancer, Configuration, Kind, Upstream},
    relay::Relay,
    support::{Counts, Program, Server, Watch, gateway, headcount},
};

/// The workload of all agents.
pub(crate) const WORKLOAD: &str = "web";

/// `client ──► client_link ──► balancer ──► server_link ──► server`
pub(crate) struct Fixture {
    pub(crate) kind: Kind,
    pub(crate) client_link: Relay,
    pub(crate) server_link: Relay,
    pub(crate) server: Server,
    balancer: Balancer,
}

/// Runs a test with each balancer that is installed, at the same time.
pub(crate) async fn with_each_balancer(test: impl AsyncFn(Kind, PathBuf)) {
    let run = async |kind: Kind| {
        if let Some(program) = kind.find() {
            test(kind, program).await;
        }
    };
    let [one, two, three, four] = Kind::ALL.map(|kind| Box::pin(run(kind)));
    tokio::join!(one, two, three, four);
}

impl Fixture {
    /// Starts a server with these flags behind a balancer with its documented configuration.
    pub(crate) async fn start(kind: Kind, program: PathBuf, flags: &str) -> Self {
        Self::with_configuration(program, Configuration::of(kind), flags).await
    }

    /// As [`start`](Self::start), with another configuration.
    pub(crate) async fn with_configuration(
        program: PathBuf,
        configuration: Configuration,
        flags: &str,
    ) -> Self {
        let (kind, server) = (configuration.kind(), Server::start(flags).await);
        let server_link = Relay::start(&server.site, server.grpc).await;
        let upstream = Upstream { grpc: server_link.address, http: server.http };
        let address = server.site.free_port();
        let balancer = Balancer::start(&program, configuration, address, upstream, &server.site).await;
        let client_link = Relay::start(&server.site, balancer.address).await;
        Self { kind, client_link, server_link, server, balancer }
    }

    /// Starts a command that calls the server through the balancer.
    pub(crate) fn client(&self, arguments: &str) -> Program {
        Program::start(&mut headcount(&format!("{arguments} --server {}", self.balancer.address)))
    }

    /// As [`client`](Self::client), over the link that a test can cut.
    pub(crate) fn client_over_link(&self, arguments: &str) -> Program {
        Program::start(&mut headcount(&format!("{arguments} --server {}", self.client_link.address)))
    }

    /// The arguments of an agent of a gateway, which is healthy while it is connected.
    pub(crate) fn agent_arguments(&self, number: usize) -> String {
        let name = format!("web-{number}");
        let file = self.server.site.file(&format!("{name}.yaml"), &gateway("default", WORKLOAD, &name));
        format!("agent --dataplane-file {}", file.display())
    }

    /// Starts agents, and waits until all are counted.
    pub(crate) async fn agents(&self, count: usize) -> Vec<Program> {
        let agents = (0..count).map(|number| self.client(&self.agent_arguments(number))).collect();
        self.server.wait_for_counts(WORKLOAD, [u32::try_from(count).unwrap(); 3]).await;
        agents
    }

    /// Opens a connection to the balancer for generated clients.
    pub(crate) async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.balancer.address)).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Waits until the watch delivers these counts, asserts that this takes less than `within`, and prints
    /// how long it took.
    pub(crate) async fn expect(&self, what: &str, watch: &mut Watch, counts: Counts, within: Duration) {
        let start = Instant::now();
        watch.until(Some(counts)).await;
        self.print_time(what, start, within);
    }

    /// Asserts that less than `within` has passed since `start`, and prints it.
    pub(crate) fn print_time(&self, what: &str, start: Instant, within: Duration) {
        let (kind, after) = (self.kind, start.elapsed());
        println!("{kind:?}: {what}: after {after:.1?}");
        assert!(after < within, "{kind:?}: {what}: {after:?}");
    }
}

/// Waits until the last line of `get workloads -w -o json` has these counts.
pub(crate) async fn wait_for_printed(reader: &Program, [connected, healthy, total]: Counts) {
    let counts = json!({ "connected": connected, "healthy": healthy, "total": total });
    reader
        .wait_for_stdout(&counts.to_string(), |out| {
            let change: Value = serde_json::from_str(out.lines().last()?).ok()?;
            (change["object"]["status"]["dataplaneProxies"] == counts).then_some(())
        })
        .await;
}
