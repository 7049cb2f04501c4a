//! Failures, with the messages that kubectl prints.

use crate::support::{EVENTS, IN_DEFAULT, Server};

#[tokio::test]
async fn the_message_names_the_missing_object() {
    let server = Server::start().await;
    let response = server.get(&format!("{IN_DEFAULT}/nope")).await;
    response.assert_status(404, "NotFound", &["workloads.kuma.io \"nope\" not found"]);
    let details = &response.json()["details"];
    assert_eq!(details, &serde_json::json!({"name": "nope", "group": "kuma.io", "kind": "workloads"}));
    server.get(&format!("{EVENTS}/nope")).await.assert_status(
        404,
        "NotFound",
        &["events \"nope\" not found"],
    );
    for name in ["No_Name", "%1b%5b2J", "%F0%9F%92%A9", &"x".repeat(5_000)] {
        let response = server.get(&format!("{IN_DEFAULT}/{name}")).await;
        response.assert_status(404, "NotFound", &["not found"]);
        assert!(!response.body.contains(&0x1b) && response.body.len() < 2_000, "{name}");
    }
}

#[tokio::test]
async fn no_object_has_a_name_that_is_not_utf8() {
    let server = Server::start().await;
    let other = "/apis/kuma.io/v1alpha1/namespaces/%ff/workloads";
    for path in [&format!("{IN_DEFAULT}/%94"), &format!("{other}/web"), &format!("{EVENTS}/%94")] {
        server.get(path).await.assert_status(404, "NotFound", &["not found"]);
    }
    assert_eq!(server.get(other).await.ok()["items"], serde_json::json!([]));
}

#[tokio::test]
async fn unknown_paths_get_the_response_of_kube_apiserver() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    for path in [
        "/nope",
        "/apis/other.io",
        "/apis/kuma.io/v1",
        "/apis/kuma.io/v1alpha1/meshes",
        "/apis/kuma.io/v1alpha1/workloads/web",
        "/apis/kuma.io/v1alpha1/namespaces/default/workloads/web/status",
        "/apis/kuma.io/v1alpha1/namespaces/default/workloads/web/scale",
        "/apis/kuma.io/v1alpha1/watch/workloads",
        "/api/v1/pods",
        "/api/v1/namespaces",
        "//apis",
        "/apis//",
    ] {
        let response = server.get(path).await;
        assert_eq!((response.code, &*response.body), (404, &b"404 page not found\n"[..]), "{path}");
        assert!(response.header("content-type").starts_with("text/plain"));
    }
}
