//! Discovery of groups, versions and resources; version and health.

use serde_json::{Value, json};

use crate::support::Server;

/// What kubectl 1.30 and newer accepts.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// What kubectl 1.27 to 1.29 accept.
const BETA: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
/// What older kubectls accept.
const OLD: &str = "application/json, */*";

#[tokio::test]
async fn discovery_has_the_format_that_the_client_accepts() {
    let server = Server::start().await;
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    for (path, accept, content_type, kind, api_version) in [
        ("/apis?timeout=32s", AGGREGATED, v2, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"),
        ("/apis", BETA, v2beta1, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2beta1"),
        ("/apis", OLD, "application/json", "APIGroupList", "v1"),
        ("/apis/", OLD, "application/json", "APIGroupList", "v1"),
        // Clients would take a 406 for a server without resources.
        ("/apis", "application/yaml", "application/json", "APIGroupList", "v1"),
        // Clients request each version again unless `/api` and `/apis` have the same format.
        ("/api?timeout=32s", AGGREGATED, v2, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2"),
        ("/api", BETA, v2beta1, "APIGroupDiscoveryList", "apidiscovery.k8s.io/v2beta1"),
        ("/apis/kuma.io", OLD, "application/json", "APIGroup", "v1"),
        ("/apis/kuma.io/v1alpha1", OLD, "application/json", "APIResourceList", "v1"),
        ("/apis/kuma.io/v1alpha1", AGGREGATED, "application/json", "APIResourceList", "v1"),
        ("/api/v1", OLD, "application/json", "APIResourceList", "v1"),
    ] {
        let response = server.get_as(path, accept).await;
        assert_eq!(response.header("content-type"), content_type, "{path} {accept}");
        assert_eq!(response.header("vary"), "Accept");
        let document = response.ok();
        assert_eq!(
            (&document["kind"], &document["apiVersion"]),
            (&json!(kind), &json!(api_version)),
            "{path}"
        );
    }
    let core = server.get_as("/api", OLD).await.ok();
    assert_eq!(core, json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}));
}

#[tokio::test]
async fn workloads_are_described_alike_in_both_formats() {
    let server = Server::start().await;
    let all = server.get_as("/apis", AGGREGATED).await.ok();
    let version = &all["items"][0]["versions"][0];
    assert_eq!(all["items"][0]["metadata"]["name"], "kuma.io");
    assert_eq!((&version["version"], &version["freshness"]), (&json!("v1alpha1"), &json!("Current")));
    let aggregated = &version["resources"][0];
    let kind = json!({"group": "kuma.io", "version": "v1alpha1", "kind": "Workload"});
    assert_eq!(aggregated["responseKind"], kind);
    assert_eq!(aggregated["scope"], "Namespaced");

    let list = server.get("/apis/kuma.io/v1alpha1").await.ok();
    assert_eq!(list["groupVersion"], "kuma.io/v1alpha1");
    let plain = &list["resources"][0];
    assert_eq!((&plain["kind"], &plain["namespaced"]), (&json!("Workload"), &json!(true)));
    for (plain, aggregated, expected) in [
        (&plain["name"], &aggregated["resource"], json!("workloads")),
        (&plain["singularName"], &aggregated["singularResource"], json!("workload")),
        (&plain["verbs"], &aggregated["verbs"], json!(["get", "list", "watch"])),
        (&plain["shortNames"], &aggregated["shortNames"], json!(["wl"])),
        (&plain["categories"], &aggregated["categories"], json!(["kuma"])),
    ] {
        assert_eq!((plain, aggregated), (&expected, &expected));
    }
    let groups = server.get("/apis").await.ok();
    let version = json!({"groupVersion": "kuma.io/v1alpha1", "version": "v1alpha1"});
    assert_eq!(
        groups["groups"],
        json!([{"name": "kuma.io", "versions": [version], "preferredVersion": version}])
    );
}

#[tokio::test]
async fn the_api_group_is_a_setting() {
    let group = "view.kuma.io";
    let server = Server::with(|config| config.kube.group = group.parse().unwrap()).await;
    let _proxy = server.join("web", 1);
    assert_eq!(server.get("/apis").await.ok()["groups"][0]["name"], group);
    let web = server.get("/apis/view.kuma.io/v1alpha1/namespaces/default/workloads/web").await.ok();
    assert_eq!(web["apiVersion"], "view.kuma.io/v1alpha1");
    let schemas = server.get("/openapi/v3/apis/view.kuma.io/v1alpha1").await.ok();
    assert!(!schemas["components"]["schemas"]["io.kuma.view.v1alpha1.Workload"].is_null());
    assert_eq!(server.get("/apis/kuma.io/v1alpha1").await.code, 404);
    let missing = server.get("/apis/view.kuma.io/v1alpha1/namespaces/default/workloads/api").await;
    missing.assert_status(404, "NotFound", &["workloads.view.kuma.io \"api\" not found"]);
}

#[tokio::test]
async fn version_health_and_all_listed_paths_are_served() {
    let server = Server::start().await;
    let version = server.get("/version?timeout=5s").await.ok();
    assert_eq!(version["major"], "1");
    let number = |minor: &Value| minor.as_str().and_then(|minor| minor.parse::<u32>().ok());
    assert!(number(&version["minor"]).is_some_and(|minor| minor >= 32), "{version}");
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1."), "{version}");
    let verbose = "[+]ready ok\n[+]warming ok\nreadyz check passed\n";
    for (path, text) in
        [("/livez", "ok"), ("/readyz", "ok"), ("/healthz", "ok"), ("/readyz?verbose", verbose)]
    {
        let response = server.get(path).await;
        assert_eq!((response.code, &*response.body), (200, text.as_bytes()), "{path}");
    }
    let paths = server.get("/").await.ok();
    for path in paths["paths"].as_array().unwrap() {
        assert_eq!(server.get(path.as_str().unwrap()).await.code, 200, "{path}");
    }
}
