//! Unary calls with grpcurl, and their errors.

use serde_json::json;

use crate::support::{Grpcurl, Proxy, Server, dataplane, hello, ready};

#[tokio::test]
async fn grpcurl_gets_lists_and_waits() {
    let Some(grpcurl) = Grpcurl::find() else { return };
    let server = Server::start("").await;
    let grpcurl = grpcurl(&server);
    let wait = json!({ "name": "web", "minimumHealthy": 2, "timeout": "20s" });
    let waiting = grpcurl.call("WorkloadService/WaitForWorkload", &wait);
    let mut proxies = Vec::new();
    for name in ["web-1", "web-2"] {
        let messages = [hello(dataplane("default", "web", name)), ready()];
        proxies.push(Proxy::open(server.connect().await, messages).await);
    }
    let waited = waiting.end().await.expect_exit(0);
    let waited: serde_json::Value = serde_json::from_str(&waited.out).unwrap();
    let counts = json!({ "connected": 2, "healthy": 2, "total": 2 });
    assert_eq!(waited["workload"]["status"]["dataplaneProxies"], counts, "{waited}");

    let got = grpcurl.response("WorkloadService/GetWorkload", &json!({ "name": "web" })).await;
    assert_eq!(got["workload"]["status"]["dataplaneProxies"], counts, "{got}");
    assert_eq!(got["workload"]["labels"]["kuma.io/mesh"], "default", "{got}");

    for (filter, found) in [
        (json!({}), 1),
        (json!({ "labelSelector": "kuma.io/mesh in (default)" }), 1),
        (json!({ "mesh": "other" }), 0),
        (json!({ "labelSelector": "kuma.io/mesh!=default" }), 0),
    ] {
        let listed = grpcurl.response("WorkloadService/ListWorkloads", &json!({ "filter": filter })).await;
        assert_eq!(listed["workloads"].as_array().unwrap().len(), found, "{filter}: {listed}");
        assert_eq!(listed["revision"], got["revision"], "{listed}");
    }
}

#[tokio::test]
async fn an_error_has_the_code_the_field_and_the_rule() {
    let Some(grpcurl) = Grpcurl::find() else { return };
    let server = Server::start("").await;
    let grpcurl = grpcurl(&server);
    let service = |method: &str| format!("WorkloadService/{method}");
    for (method, request, code, text) in [
        ("GetWorkload", json!({ "name": "web" }), "NotFound", "workload default/web not found"),
        ("GetWorkload", json!({}), "InvalidArgument", "name"),
        (
            "ListWorkloads",
            json!({ "filter": { "labelSelector": "kuma.io/mesh in default" } }),
            "InvalidArgument",
            "filter.label_selector",
        ),
        ("WatchWorkloads", json!({ "filter": { "mesh": "No_Mesh" } }), "InvalidArgument", "filter.mesh"),
        ("WatchWorkloads", json!({ "resumeToken": "gibberish" }), "InvalidArgument", "resume_token"),
        ("WaitForWorkload", json!({ "name": "web" }), "InvalidArgument", "minimum_healthy"),
        (
            "WaitForWorkload",
            json!({ "name": "web", "minimumHealthy": 3, "timeout": "0.05s" }),
            "DeadlineExceeded",
            "wanted 3 healthy; has 0 connected, 0 healthy, 0 total",
        ),
    ] {
        let error = grpcurl.error(&service(method), &request).await;
        assert!(error.err.contains(&format!("Code: {code}\n")), "{request}: {error}");
        assert!(error.err.contains(text), "{request}: {error}");
    }
}

#[tokio::test]
async fn the_workload_service_has_no_writing_method() {
    let Some(grpcurl) = Grpcurl::find() else { return };
    let server = Server::start("").await;
    let described =
        grpcurl(&server).start(&[], &["list", "headcount.v1.WorkloadService"]).end().await.expect_exit(0);
    let read_only = ["GetWorkload", "ListWorkloads", "WaitForWorkload", "WatchWorkloads"];
    let methods: Vec<_> = described.out.lines().filter_map(|line| line.rsplit('.').next()).collect();
    assert_eq!(methods, read_only);
}
