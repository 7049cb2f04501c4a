//! A real Prometheus scrapes a real server.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::support::{Program, Server, Signal, Site, gateway, get, peer, replace, retry};

const CONFIG: &str = include_str!("../../examples/prometheus/prometheus.yml");
const ALERTS: &str = include_str!("../../examples/prometheus/alerts.yml");

/// A running Prometheus.
pub(crate) struct Prometheus {
    _program: Program,
    pub(crate) address: SocketAddr,
}

impl Prometheus {
    /// Starts one with the example configuration, but a shorter scrape interval.
    async fn start(prometheus: PathBuf, server: &Server) -> Self {
        let config = replace(&replace(CONFIG, "5s", "200ms"), "127.0.0.1:7101", &server.http.to_string());
        server.site.file("alerts.yml", ALERTS);
        Self::start_with(prometheus, &server.site, &config).await
    }

    /// Starts one with this configuration.
    pub(crate) async fn start_with(prometheus: PathBuf, site: &Site, config: &str) -> Self {
        let config = site.file("prometheus.yml", config);
        let address = site.free_port();
        let mut command = Command::new(prometheus);
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", site.path("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let program = Program::start(&mut command);
        program.wait_for_stderr("Server is ready to receive web requests").await;
        Self { _program: program, address }
    }

    /// Waits until an instant query returns these values, keyed by the values of these labels. Prometheus
    /// does not report when a scrape is done, so this polls.
    pub(crate) async fn wait_for(&self, query: &str, labels: [&str; 2], wanted: &[([&str; 2], &str)]) {
        let path = format!("/api/v1/query?query={}", percent_encoded(query));
        retry(&format!("{query} is {wanted:?}"), async || {
            let (200, body) = get(self.address, &path).await? else { return None };
            let body: Value = serde_json::from_str(&body).unwrap();
            let mut series: Vec<_> = body["data"]["result"]
                .as_array()?
                .iter()
                .map(|series| {
                    let label = |name: &str| series["metric"][name].as_str().unwrap_or_default();
                    (labels.map(label), series["value"][1].as_str().unwrap_or_default())
                })
                .collect();
            series.sort_unstable();
            (series == wanted).then_some(())
        })
        .await;
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("%{byte:02X}"))
}

#[tokio::test]
async fn prometheus_scrapes_the_counts_and_drops_series_of_deleted_workloads() {
    let Some(program) = peer("prometheus") else { return };
    let server = Server::start("").await;
    let web = [("web-1", "web"), ("web-2", "web"), ("batch-1", "batch")]
        .map(|(name, workload)| server.agent(name, &gateway("default", workload, name)));
    let [web_1, web_2, batch] = web;
    server.wait_for_counts("web", [2, 2, 2]).await;
    server.wait_for_counts("batch", [1, 1, 1]).await;

    let prometheus = Prometheus::start(program, &server).await;
    let labels = ["mesh", "workload"];
    let both =
        |batch: &'static str, web: &'static str| [(["default", "batch"], batch), (["default", "web"], web)];
    for gauge in ["connected", "healthy", "registered"] {
        let query = format!("headcount_dataplane_proxies_{gauge}");
        prometheus.wait_for(&query, labels, &both("1", "2")).await;
    }
    prometheus.wait_for("headcount_workloads", labels, &[(["default", ""], "2")]).await;

    // A killed agent is still registered but not connected.
    web_1.signal(Signal::KILL);
    prometheus.wait_for("headcount_dataplane_proxies_connected", labels, &both("1", "1")).await;
    prometheus.wait_for("headcount_dataplane_proxies_registered", labels, &both("1", "2")).await;

    // The series of a deleted Workload are no longer exported. Prometheus marks them stale at the next
    // scrape, not after five minutes.
    batch.signal(Signal::TERM);
    for gauge in ["connected", "healthy", "registered"] {
        let (of_web, query) =
            (if gauge == "registered" { "2" } else { "1" }, format!("headcount_dataplane_proxies_{gauge}"));
        prometheus.wait_for(&query, labels, &[(["default", "web"], of_web)]).await;
    }

    // The example alerts work with the real metrics.
    let pending = [(["HeadcountWorkloadDegraded", "pending"], "1")];
    prometheus.wait_for("ALERTS", ["alertname", "alertstate"], &pending).await;
    drop(web_2);
}

/// While the server is down, a scrape fails and has no samples. Every other scrape has the series, and no
/// sample is less than before.
#[tokio::test]
async fn registered_proxies_have_no_gap_at_a_restart() {
    let Some(program) = peer("prometheus") else { return };
    let mut server = Server::start_durable("--drain-timeout 5s").await;
    let agents = ["web-1", "web-2", "web-3"].map(|name| server.agent(name, &gateway("default", "web", name)));
    server.wait_for_counts("web", [3, 3, 3]).await;
    let prometheus = Prometheus::start(program, &server).await;
    let labels = ["mesh", "workload"];
    let registered = "headcount_dataplane_proxies_registered";
    prometheus.wait_for(registered, labels, &[(["default", "web"], "3")]).await;
    for (signal, killed) in [Signal::TERM, Signal::KILL].into_iter().zip(&agents) {
        server.wait_until_stored().await;
        server.restart(signal).await;
        // A change after the restart, so that a scrape after it is certain.
        let mut watch = server.watch("web").await;
        let connected = if signal == Signal::TERM { 3 } else { 2 };
        watch.until(Some([connected, connected, 3])).await;
        killed.signal(Signal::KILL);
        watch.until(Some([connected - 1, connected - 1, 3])).await;
        let connected = if signal == Signal::TERM { "2" } else { "1" };
        let web = [(["default", "web"], connected)];
        prometheus.wait_for("headcount_dataplane_proxies_connected", labels, &web).await;
    }
    let least = format!("min_over_time({registered}[10m])");
    prometheus.wait_for(&least, labels, &[(["default", "web"], "3")]).await;
    let missing =
        format!("sum(sum_over_time(up{{job=\"headcount\"}}[10m])) - sum(count_over_time({registered}[10m]))");
    prometheus.wait_for(&missing, labels, &[(["", ""], "0")]).await;
}
