//! Writes are rejected.

use http::Method;

use crate::support::{EVENTS, IN_DEFAULT, Server, WORKLOADS};

#[tokio::test]
async fn every_write_is_rejected_with_an_explanation() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let body = r#"{"apiVersion":"kuma.io/v1alpha1","kind":"Workload","metadata":{"name":"web"}}"#;
    let (one, none) = (format!("{IN_DEFAULT}/web"), format!("{IN_DEFAULT}/nope"));
    for (method, path, content_type, verb) in [
        (Method::POST, IN_DEFAULT, "application/json", "create"),
        (Method::PUT, &*one, "application/json", "update"),
        (Method::PATCH, &*one, "application/merge-patch+json", "patch"),
        (Method::PATCH, &*one, "application/apply-patch+yaml", "patch"),
        (Method::DELETE, &*one, "application/json", "delete"),
        // Also if the Workload does not exist.
        (Method::DELETE, &*none, "application/json", "delete"),
        (Method::DELETE, IN_DEFAULT, "application/json", "delete"),
        (Method::POST, WORKLOADS, "application/json", "create"),
    ] {
        let path = format!("{path}?fieldManager=kubectl-create&fieldValidation=Strict");
        let response = server.request(method, &path, &[("content-type", content_type)], body).await;
        let words = [
            "workloads.kuma.io",
            verb,
            "is not supported",
            "managed automatically",
            "kuma.io/workload",
            "Change the dataplanes",
        ];
        response.assert_status(405, "MethodNotAllowed", &words);
        assert_eq!(response.header("allow"), "GET, HEAD");
        assert_eq!(response.json()["details"]["kind"], "workloads");
    }
    server.request(Method::POST, EVENTS, &[], "{}").await.assert_status(
        405,
        "MethodNotAllowed",
        &["events", "create"],
    );
    for path in ["/apis", "/version", "/openapi/v2", "/livez"] {
        let response = server.request(Method::DELETE, path, &[], "").await;
        response.assert_status(405, "MethodNotAllowed", &["does not allow this method"]);
    }
    assert_eq!(server.get(&one).await.code, 200);
}

#[tokio::test]
async fn head_requests_get_no_body() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    for (path, code) in
        [(format!("{IN_DEFAULT}/web"), 200), (format!("{IN_DEFAULT}/nope"), 404), ("/readyz".into(), 200)]
    {
        let response = server.request(Method::HEAD, &path, &[], "").await;
        assert_eq!((response.code, response.body.len()), (code, 0), "{path}");
    }
}
