//! The Workload example of Kuma's documentation, reproduced with real processes.

use headcount::proto::{Dataplane, Environment};

use crate::support::{Application, Proxy, Server, dataplane, hello, ready, replace, service};

/// The example as documented, for Kubernetes.
pub(crate) const KUMA_WORKLOAD: &str = include_str!("../kuma-workload.yaml");
const ON_KUBERNETES: &str = "    kuma.io/managed-by: k8s-controller\n";
const ON_UNIVERSAL: &str = "    kuma.io/env: universal\n    kuma.io/managed-by: workload-generator\n";

const NAMES: [&str; 3] = ["demo-workload-1", "demo-workload-2", "demo-workload-3"];

#[tokio::test]
async fn three_agents_on_universal_give_the_example() {
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    let _agents = NAMES.map(|name| server.agent(name, &service(name, application.address(), "tcp: {}")));
    server.run("wait workload demo-workload --healthy 3").await.expect_exit(0);
    let yaml = server.run("get workload demo-workload -o yaml").await.expect_exit(0).out;
    assert_eq!(yaml, replace(KUMA_WORKLOAD, ON_KUBERNETES, ON_UNIVERSAL));
    let json = server.run("get workload demo-workload -n default -o json").await.expect_exit(0).out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["status"]["dataplaneProxies"]["healthy"], 3, "{json}");
    let table = server.run("get workloads").await.expect_exit(0).out;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAMESPACE", "NAME", "MESH", "CONNECTED", "HEALTHY", "TOTAL", "AGE"]);
    assert_eq!(rows[1][..6], ["default", "demo-workload", "default", "3", "3", "3"]);
    assert_eq!(rows.len(), 2);
    let proxies = server.run("get dataplanes --workload demo-workload").await.expect_exit(0).out;
    for name in NAMES {
        assert!(proxies.contains(name), "{proxies}");
    }
}

#[tokio::test]
async fn three_sessions_on_kubernetes_give_the_example_byte_for_byte() {
    let server = Server::start("").await;
    let mut proxies = Vec::new();
    for name in NAMES {
        let dataplane = Dataplane {
            environment: Environment::Kubernetes.into(),
            ..dataplane("default", "demo-workload", name)
        };
        proxies.push(Proxy::open(server.connect().await, [hello(dataplane), ready()]).await);
    }
    server.run("wait workload demo-workload --healthy 3").await.expect_exit(0);
    let yaml = server.run("get workload demo-workload -n default -o yaml").await.expect_exit(0).out;
    assert_eq!(yaml, KUMA_WORKLOAD);
}

#[tokio::test]
async fn the_agent_rejects_an_invalid_workload_name() {
    let server = Server::start("").await;
    let file = replace(
        &service("dp-1", server.http, "tcp: {}"),
        "kuma.io/workload: demo-workload",
        "kuma.io/workload: Demo_Workload",
    );
    let ended = server.agent("dp-1", &file).end().await.expect_exit(64);
    assert!(ended.err.contains("Demo_Workload"), "{ended}");
    assert!(ended.err.contains("kuma.io/workload"), "{ended}");
}
