//! Reads with real kubectl of Workloads that real agents create.

use serde_json::Value;

use crate::{
    pki::Authority,
    support::{Kubectl, Server, Site, gateway},
};

/// Starts a server with three proxies of `demo-workload` and one of `api`.
async fn start() -> (Server, [crate::support::Program; 4]) {
    let server = Server::start("").await;
    let agents = [("demo-workload", "d1"), ("demo-workload", "d2"), ("demo-workload", "d3"), ("api", "a1")];
    let agents = agents.map(|(workload, name)| server.agent(name, &gateway("default", workload, name)));
    server.wait_for_counts("demo-workload", [3, 3, 3]).await;
    server.wait_for_counts("api", [1, 1, 1]).await;
    (server, agents)
}

const HEADER: [&str; 6] = ["NAME", "MESH", "CONNECTED", "HEALTHY", "TOTAL", "AGE"];

#[tokio::test]
async fn kubectl_get_prints_tables_for_all_names_and_selectors() {
    let (server, _agents) = start().await;
    for kubectl in Kubectl::all(&server).await {
        let demo = ["demo-workload", "default", "3", "3", "3"];
        let api = ["api", "default", "1", "1", "1"];
        for (arguments, expected) in [
            ("get workloads -n default", &[api, demo][..]),
            ("get workload", &[api, demo]),
            ("get wl", &[api, demo]),
            ("get kuma", &[api, demo]),
            ("get workloads.v1alpha1.kuma.io", &[api, demo]),
            ("get wl demo-workload", &[demo]),
            ("get wl demo-workload api", &[demo, api]),
            ("get wl -l kuma.io/mesh=default", &[api, demo]),
            ("get wl --field-selector metadata.name=api", &[api]),
            ("get wl --chunk-size=1", &[api, demo]),
            ("get wl --sort-by=.status.dataplaneProxies.total", &[api, demo]),
        ] {
            let table = kubectl.table(arguments).await;
            assert_eq!(table[0], HEADER, "{arguments}");
            let rows: Vec<_> = table[1..].iter().map(|row| &row[..5]).collect();
            assert_eq!(rows, expected, "1.{} {arguments}", kubectl.minor);
        }
        let all = kubectl.table("get wl -A").await;
        assert_eq!(all[0][..2], ["NAMESPACE", "NAME"]);
        assert_eq!(all[2][..3], ["default", "demo-workload", "default"]);
        let wide = kubectl.table("get wl -o wide").await;
        assert_eq!(wide[0][6..], ["ZONE", "REVISION", "LAST-CHANGE", "UID"]);
        let labels = kubectl.table("get wl --show-labels").await;
        assert!(labels[1][6].contains("kuma.io/mesh=default"), "{labels:?}");
        let none = kubectl.run("get wl -n nowhere").await.expect_exit(0);
        assert_eq!(none.err, "No resources found in nowhere namespace.\n");
        let none = kubectl.run("get wl nope").await.expect_exit(1);
        assert_eq!(none.err, "Error from server (NotFound): workloads.kuma.io \"nope\" not found\n");
        let bad = kubectl.run("get wl --field-selector status.x=1").await.expect_exit(1);
        assert!(bad.err.contains("field label not supported: status.x"), "{bad}");
    }
}

/// Removes the metadata that Kubernetes objects have besides Kuma's example.
fn without_kubernetes_metadata(mut workload: Value) -> Value {
    let metadata = workload["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        assert!(metadata.remove(field).is_some(), "{field}");
    }
    workload
}

#[tokio::test]
async fn kubectl_and_headcount_print_the_same_workload() {
    let (server, _agents) = start().await;
    let ours = server.run("get workload demo-workload -o yaml").await.expect_exit(0);
    let ours: Value = serde_saphyr::from_str(&ours.out).unwrap();
    let revision = server.run("get workload demo-workload -o wide").await.expect_exit(0).out;
    for kubectl in Kubectl::all(&server).await {
        let yaml = kubectl.run("get workload demo-workload -n default -o yaml").await.expect_exit(0);
        let yaml: Value = serde_saphyr::from_str(&yaml.out).unwrap();
        let version = yaml["metadata"]["resourceVersion"].as_str().unwrap();
        assert!(revision.contains(version), "the resource version is the revision: {revision}");
        assert_eq!(without_kubernetes_metadata(yaml), ours);
        let json = kubectl.run("get wl -o json").await.expect_exit(0);
        let json: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(without_kubernetes_metadata(json["items"][1].clone()), ours);
        let names = kubectl.run("get wl -o name").await.expect_exit(0);
        assert_eq!(names.out, "workload.kuma.io/api\nworkload.kuma.io/demo-workload\n");
        let total = kubectl
            .run("get wl demo-workload -o jsonpath={.status.dataplaneProxies.total}")
            .await
            .expect_exit(0);
        assert_eq!(total.out, "3");
    }
}

#[tokio::test]
async fn kubectl_discovers_and_explains_the_resources() {
    let (server, _agents) = start().await;
    for kubectl in Kubectl::all(&server).await {
        let resources = kubectl.table("api-resources").await;
        assert!(
            resources.contains(
                &["workloads", "wl", "kuma.io/v1alpha1", "true", "Workload"].map(str::to_owned).into()
            ),
            "{resources:?}"
        );
        let versions = kubectl.run("api-versions").await.expect_exit(0);
        assert_eq!(versions.out, "kuma.io/v1alpha1\nv1\n");
        for (arguments, part) in [
            ("explain workload.status", "dataplaneProxies"),
            (
                "explain workload.status.dataplaneProxies",
                "Connected data plane proxies that report themselves healthy.",
            ),
            ("explain wl", "managed automatically"),
            ("explain events.reason", "One word for machines."),
            ("version", "+headcount-"),
            ("get --raw /livez", "ok"),
        ] {
            let ended = kubectl.run(arguments).await.expect_exit(0);
            assert!(ended.out.contains(part), "1.{} {ended}", kubectl.minor);
            assert_eq!(ended.err, "", "{arguments}");
        }
    }
}

#[tokio::test]
async fn kubectl_describe_shows_a_mesh_conflict() {
    let (server, _agents) = start().await;
    let _other = server.agent("o1", &gateway("other", "demo-workload", "o1"));
    server.run("get events").await.expect_exit(0);
    crate::support::retry("the event", async || {
        server.run("get events").await.out.contains("MultipleMeshesDetected").then_some(())
    })
    .await;
    for kubectl in Kubectl::all(&server).await {
        let described = kubectl.run("describe workload demo-workload").await.expect_exit(0);
        let (object, events) = described.out.split_once("Events:").unwrap();
        assert!(object.contains("Healthy:    3"), "{described}");
        for part in [
            "Warning",
            "MultipleMeshesDetected",
            "headcount",
            "multiple meshes (2 meshes) for workload demo-workload",
        ] {
            assert!(events.contains(part), "{part}: {described}");
        }
        let other = kubectl.run("describe workload api").await.expect_exit(0);
        assert!(other.out.contains("<none>"), "{other}");
        let rows = kubectl.table("get events").await;
        assert_eq!(rows[0], ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]);
        assert_eq!(rows[1][1..4], ["Warning", "MultipleMeshesDetected", "workload/demo-workload"]);
        if kubectl.minor >= 26 {
            let rows = kubectl.table("events").await;
            assert_eq!(rows[1][1..3], ["Warning", "MultipleMeshesDetected"]);
        }
    }
}

#[tokio::test]
async fn kubectl_reads_over_tls_with_the_printed_kubeconfig() {
    let (site, authority) = (Site::new(), Authority::new());
    let pair = authority.server(&[&site.any_port().ip().to_string()]);
    let [cert, key, ca] = [("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.pem)]
        .map(|(name, text)| site.file(name, &text).display().to_string());
    let server =
        Server::start_at(site, &format!("--kube-tls-cert-file {cert} --kube-tls-key-file {key}")).await;
    let _agent = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let arguments = format!("--kube-server https://{} --ca-file {ca}", server.kube);
    for kubectl in Kubectl::all_for(&server, &arguments).await {
        let table = kubectl.table("get workloads").await;
        assert_eq!(table[1][..5], ["web", "default", "1", "1", "1"]);
    }
}
