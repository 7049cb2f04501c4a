//! Workloads, read through kube-apiserver.

use serde_json::{Value, json};

use crate::{
    control_plane::Cluster,
    installation::Installed,
    support::{Application, Program, Signal, pod_of, retry},
};

pub(crate) async fn kubectl_reads_workloads(installed: &Installed) {
    let cluster = &installed.cluster;
    let application = Application::start(cluster.site.any_port());
    let mut agents = Vec::new();
    for number in 1..=3 {
        let pod = pod_of(&installed.demo("demo-app").await, &format!("demo-app-{number}"));
        agents.push(installed.run_sidecar(&installed.create(&pod).await, &application).await);
    }
    let healthy = "wait workload demo-workload -n headcount-demo --timeout=25s \
                   --for=jsonpath={.status.dataplaneProxies.healthy}=3";
    cluster.admin(healthy).await;

    let table = cluster.admin("get workloads -n headcount-demo").await;
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["NAME", "MESH", "CONNECTED", "HEALTHY"], "{table}");
    assert_eq!(rows[1][..5], ["demo-workload", "default", "3", "3", "3"], "{table}");
    assert_eq!(cluster.admin("get wl -A --no-headers").await.lines().count(), 1);

    let json = cluster.admin("get workload demo-workload -n headcount-demo -o json").await;
    let workload: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(workload["kind"], "Workload");
    assert_eq!(workload["metadata"]["labels"]["kuma.io/managed-by"], "k8s-controller");
    assert_eq!(workload["status"]["dataplaneProxies"], json!({"connected": 3, "healthy": 3, "total": 3}));

    let resources = cluster.admin("api-resources --api-group=kuma.io -o name").await;
    assert_eq!(resources, "workloads.kuma.io\n");
    let explained = cluster.admin("explain workload.status.dataplaneProxies").await;
    assert!(explained.contains("healthy"), "{explained}");

    the_core_group_is_unchanged(cluster).await;

    // The kubelet sends SIGTERM when a Pod is deleted, and its dataplane is no longer counted.
    for agent in agents {
        agent.signal(Signal::TERM);
        agent.end().await.expect_exit(0);
    }
    assert_eq!(cluster.admin("get wl -A --no-headers").await, "");
}

/// If two servers have documents of one group version, the aggregation layer uses either of them for
/// the whole group version.
async fn the_core_group_is_unchanged(cluster: &Cluster) {
    let openapi = retry("the schema of Workloads", async || {
        let openapi = cluster.admin("get --raw /openapi/v2").await;
        openapi.contains("v1alpha1.Workload\"").then_some(openapi)
    });
    let openapi: Value = serde_json::from_str(&openapi.await).unwrap();
    let event = json!({"group": "", "version": "v1", "kind": "Event"});
    let definitions = openapi["definitions"].as_object().unwrap().values();
    let event_definitions = definitions.filter(|definition| {
        let kinds = definition["x-kubernetes-group-version-kind"].as_array();
        kinds.is_some_and(|kinds| kinds.contains(&event))
    });
    assert_eq!(event_definitions.count(), 1);
    for _ in 0..20 {
        let core = cluster.admin("get --raw /openapi/v3/api/v1").await;
        assert!(core.contains("io.k8s.api.core.v1.PodSpec"), "{core:.300}");
    }
}

pub(crate) async fn a_watch_shows_changes(installed: &Installed) {
    let cluster = &installed.cluster;
    let application = Application::start(cluster.site.any_port());
    let pod = pod_of(&installed.demo("backend").await, "backend-watched");
    let pod = installed.create(&pod).await;
    let watch = cluster.kubectl("admin", "get workloads -n headcount-demo -w --no-headers");
    let agent = installed.run_sidecar(&pod, &application).await;
    wait_for_counts(&watch, ["1", "1", "1"]).await;
    application.answer_with(503);
    wait_for_counts(&watch, ["1", "0", "1"]).await;
    application.answer_with(200);
    wait_for_counts(&watch, ["1", "1", "1"]).await;
    agent.signal(Signal::KILL);
    agent.end().await;
    wait_for_counts(&watch, ["0", "0", "1"]).await;
    // The dataplane reconnects with another process.
    let agent = installed.run_sidecar(&pod, &application).await;
    wait_for_counts(&watch, ["1", "1", "1"]).await;
    agent.signal(Signal::TERM);
    agent.end().await.expect_exit(0);
}

/// Waits until the last line of a watch has these counts.
async fn wait_for_counts(watch: &Program, counts: [&str; 3]) {
    let find = |out: &str| {
        let words: Vec<_> = out.lines().last()?.split_whitespace().collect();
        (words.get(2..5)? == counts).then_some(())
    };
    watch.wait_for_stdout(&format!("{counts:?}"), find).await;
}
