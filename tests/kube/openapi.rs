//! `OpenAPI` documents.

use http::Method;
use serde_json::json;

use crate::support::Server;

/// The only media type that kubectl accepts.
const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// `kubectl explain` looks for a path whose `get` names the kind, and for the schema of that
/// kind.
#[tokio::test]
async fn kubectl_explain_finds_the_schema_in_version_3() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.ok();
    for (version, path, schema, kind) in [
        (
            "apis/kuma.io/v1alpha1",
            "/apis/kuma.io/v1alpha1/namespaces/{namespace}/workloads/{name}",
            "io.kuma.v1alpha1.Workload",
            json!({"group": "kuma.io", "version": "v1alpha1", "kind": "Workload"}),
        ),
        (
            "api/v1",
            "/api/v1/namespaces/{namespace}/events/{name}",
            "io.k8s.api.core.v1.Event",
            json!({"group": "", "version": "v1", "kind": "Event"}),
        ),
    ] {
        let url = index["paths"][version]["serverRelativeURL"].as_str().unwrap();
        let document = server.get(&format!("{url}&timeout=32s")).await.ok();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.0"));
        let get = &document["paths"][path]["get"];
        assert_eq!(
            (&get["x-kubernetes-group-version-kind"], &get["x-kubernetes-action"]),
            (&kind, &json!("get"))
        );
        let schema = &document["components"]["schemas"][schema];
        assert_eq!(schema["x-kubernetes-group-version-kind"], json!([kind]));
        assert!(
            schema["properties"]["metadata"]["properties"].is_null(),
            "an incomplete schema of the metadata breaks `kubectl edit`"
        );
        for (name, field) in schema["properties"].as_object().unwrap() {
            assert!(field["description"].is_string(), "{name}");
        }
    }
    let workloads = server.get("/openapi/v3/apis/kuma.io/v1alpha1").await.ok();
    let status = &workloads["components"]["schemas"]["io.kuma.v1alpha1.Workload"]["properties"]["status"];
    let counts = &status["properties"]["dataplaneProxies"];
    assert_eq!(counts["required"], json!(["connected", "healthy", "total"]));
    assert_eq!(
        (&counts["properties"]["total"]["type"], &counts["properties"]["total"]["format"]),
        (&json!("integer"), &json!("int32"))
    );
}

#[tokio::test]
async fn a_document_requested_by_its_hash_can_be_cached_forever() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.ok();
    let url = index["paths"]["apis/kuma.io/v1alpha1"]["serverRelativeURL"].as_str().unwrap();
    let cacheable = server.get(url).await;
    assert!(cacheable.header("cache-control").starts_with("public, immutable, max-age="));
    let tag = cacheable.header("etag").to_owned();
    for other in ["/openapi/v3/apis/kuma.io/v1alpha1", "/openapi/v3/apis/kuma.io/v1alpha1?hash=OLD"] {
        let response = server.get(other).await;
        assert_eq!(
            (response.header("cache-control"), response.header("etag")),
            ("no-cache, private", &*tag),
            "{other}"
        );
    }
    let known = server.request(Method::GET, url, &[("if-none-match", &format!("\"x\", {tag}"))], "").await;
    assert_eq!((known.code, known.body.len()), (304, 0));
    let other = Server::with(|config| config.kube.group = "other.io".parse().unwrap()).await;
    let index = other.get("/openapi/v3").await.ok();
    let other = index["paths"]["apis/other.io/v1alpha1"]["serverRelativeURL"].as_str().unwrap();
    assert_ne!(url.split('=').next_back(), other.split('=').next_back(), "another document has another hash");
}

#[tokio::test]
async fn version_2_is_protobuf_for_kubectl_and_json_for_the_aggregator() {
    let server = Server::start().await;
    for (accept, content_type) in [
        (PROTOBUF, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
        (
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
            "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        ),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ] {
        let response = server.get_as("/openapi/v2?timeout=32s", accept).await;
        assert_eq!((response.code, response.header("content-type")), (200, content_type), "{accept}");
        assert!(!response.body.is_empty());
    }
    let document = server.get("/openapi/v2").await.ok();
    assert_eq!(document["swagger"], "2.0");
    let of = &document["definitions"]["io.kuma.v1alpha1.Workload"]["x-kubernetes-group-version-kind"];
    assert_eq!(of, &json!([{"group": "kuma.io", "version": "v1alpha1", "kind": "Workload"}]));
}
