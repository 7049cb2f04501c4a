//! Real kubectl reads what real agents make.

use serde_json::Value;

use crate::{
    pki::Authority,
    support::{Kubectl, Server, Site, gateway},
};

/// Three proxies of `demo-workload` and one of `api`.
async fn server() -> (Server, [crate::support::Program; 4]) {
    let server = Server::start("").await;
    let agents = [("demo-workload", "d1"), ("demo-workload", "d2"), ("demo-workload", "d3"), ("api", "a1")];
    let agents = agents.map(|(workload, name)| server.agent(name, &gateway("default", workload, name)));
    server.wait_for_counts("demo-workload", [3, 3, 3]).await;
    server.wait_for_counts("api", [1, 1, 1]).await;
    (server, agents)
}

const HEADER: [&str; 6] = ["NAME", "MESH", "CONNECTED", "HEALTHY", "TOTAL", "AGE"];

#[tokio::test]
async fn kubectl_prints_tables_in_all_ways_to_ask() {
    let (server, _agents) = server().await;
    for kubectl in Kubectl::all(&server).await {
        let demo = ["demo-workload", "default", "3", "3", "3"];
        let api = ["api", "default", "1", "1", "1"];
        for (words, expected) in [
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
            let table = kubectl.table(words).await;
            assert_eq!(table[0], HEADER, "{words}");
            let rows: Vec<_> = table[1..].iter().map(|row| &row[..5]).collect();
            assert_eq!(rows, expected, "1.{} {words}", kubectl.minor);
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

/// What a living object has besides Kuma's document.
fn without_its_life(mut workload: Value) -> Value {
    let metadata = workload["metadata"].as_object_mut().unwrap();
    for of_life in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        assert!(metadata.remove(of_life).is_some(), "{of_life}");
    }
    workload
}

#[tokio::test]
async fn kubectl_and_headcount_print_one_document() {
    let (server, _agents) = server().await;
    let ours = server.run("get workload demo-workload -o yaml").await.expect_exit(0);
    let ours: Value = serde_saphyr::from_str(&ours.out).unwrap();
    let revision = server.run("get workload demo-workload -o wide").await.expect_exit(0).out;
    for kubectl in Kubectl::all(&server).await {
        let yaml = kubectl.run("get workload demo-workload -n default -o yaml").await.expect_exit(0);
        let yaml: Value = serde_saphyr::from_str(&yaml.out).unwrap();
        let version = yaml["metadata"]["resourceVersion"].as_str().unwrap();
        assert!(revision.contains(version), "the revision of gRPC: {revision}");
        assert_eq!(without_its_life(yaml), ours);
        let json = kubectl.run("get wl -o json").await.expect_exit(0);
        let json: Value = serde_json::from_str(&json.out).unwrap();
        assert_eq!(without_its_life(json["items"][1].clone()), ours);
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
async fn kubectl_finds_and_explains_what_there_is() {
    let (server, _agents) = server().await;
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
        for (words, part) in [
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
            let ended = kubectl.run(words).await.expect_exit(0);
            assert!(ended.out.contains(part), "1.{} {ended}", kubectl.minor);
            assert_eq!(ended.err, "", "{words}");
        }
    }
}

#[tokio::test]
async fn kubectl_describes_a_conflict_of_meshes() {
    let (server, _agents) = server().await;
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
        let unharmed = kubectl.run("describe workload api").await.expect_exit(0);
        assert!(unharmed.out.contains("<none>"), "{unharmed}");
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
async fn kubectl_reads_over_tls_by_what_kubeconfig_prints() {
    let (site, authority) = (Site::new(), Authority::new());
    let pair = authority.server(&[&site.any_port().ip().to_string()]);
    let [cert, key, ca] = [("tls.crt", pair.cert), ("tls.key", pair.key), ("ca.crt", authority.pem)]
        .map(|(name, text)| site.file(name, &text).display().to_string());
    let server =
        Server::start_at(site, &format!("--kube-tls-cert-file {cert} --kube-tls-key-file {key}")).await;
    let _agent = server.agent("w1", &gateway("default", "web", "w1"));
    server.wait_for_counts("web", [1, 1, 1]).await;
    let words = format!("--kube-server https://{} --certificate-authority {ca}", server.kube);
    for kubectl in Kubectl::all_for(&server, &words).await {
        let table = kubectl.table("get workloads").await;
        assert_eq!(table[1][..5], ["web", "default", "1", "1", "1"]);
    }
}
