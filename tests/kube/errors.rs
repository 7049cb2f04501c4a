//! Failures, in the words that kubectl shows.

use crate::support::{EVENTS, IN_DEFAULT, Server};

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = Server::start().await;
    let answer = server.get(&format!("{IN_DEFAULT}/nope")).await;
    answer.refuses(404, "NotFound", &["workloads.kuma.io \"nope\" not found"]);
    let details = &answer.json()["details"];
    assert_eq!(details, &serde_json::json!({"name": "nope", "group": "kuma.io", "kind": "workloads"}));
    server.get(&format!("{EVENTS}/nope")).await.refuses(404, "NotFound", &["events \"nope\" not found"]);
    for name in ["No_Name", "%1b%5b2J", "..", "%F0%9F%92%A9", &"x".repeat(5_000)] {
        let answer = server.get(&format!("{IN_DEFAULT}/{name}")).await;
        answer.refuses(404, "NotFound", &["not found"]);
        assert!(!answer.body.contains(&0x1b) && answer.body.len() < 2_000, "{name}");
    }
}

#[tokio::test]
async fn a_name_that_is_no_text_is_refused_in_a_form_that_clients_read() {
    let server = Server::start().await;
    let other = "/apis/kuma.io/v1alpha1/namespaces/%ff/workloads";
    for path in [&format!("{IN_DEFAULT}/%94"), other, &format!("{other}/web"), &format!("{EVENTS}/%94")] {
        server.get(path).await.refuses(400, "BadRequest", &["Invalid UTF-8"]);
    }
}

#[tokio::test]
async fn a_path_that_leads_nowhere_says_so_as_kubernetes_does() {
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
        let answer = server.get(path).await;
        assert_eq!((answer.code, &*answer.body), (404, &b"404 page not found\n"[..]), "{path}");
        assert!(answer.header("content-type").starts_with("text/plain"));
    }
}
