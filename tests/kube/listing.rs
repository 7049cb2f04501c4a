//! Single objects and lists.

use serde_json::{Value, json};

use crate::support::{IN_DEFAULT, Server, TABLE, WORKLOADS, names, report};

/// The example in Kuma's documentation.
const DOCUMENTED: &str = include_str!("../kuma-workload.yaml");

#[tokio::test]
async fn a_workload_equals_the_documented_example_field_for_field() {
    let server = Server::start().await;
    let mut sessions = [1, 2, 3].map(|number| server.join("demo-workload", number));
    for session in &mut sessions {
        report(session, 1, true);
    }
    let mut workload = server.get(&format!("{IN_DEFAULT}/demo-workload")).await.ok();
    let metadata = workload["metadata"].as_object_mut().unwrap();
    // Fields that the example does not have.
    let revision = metadata.remove("resourceVersion").unwrap();
    assert_eq!(revision, server.head().to_string());
    assert_eq!(metadata.remove("generation"), Some(json!(1)));
    assert_eq!(metadata.remove("uid").unwrap().as_str().unwrap().len(), 36);
    let created = metadata.remove("creationTimestamp").unwrap();
    assert!(created.as_str().is_some_and(|time| time.ends_with('Z') && time.len() == 20), "{created}");
    let documented: Value = serde_saphyr::from_str(DOCUMENTED).unwrap();
    assert_eq!(workload, documented);
}

#[tokio::test]
async fn a_list_contains_all_namespaces_or_one() {
    let server = Server::start().await;
    let _proxies =
        [server.join("web", 1), server.join_in("default", "shop", "api", 1), server.join("api", 1)];
    let all = server.get(WORKLOADS).await.ok();
    assert_eq!((&all["kind"], &all["apiVersion"]), (&json!("WorkloadList"), &json!("kuma.io/v1alpha1")));
    assert_eq!(all["metadata"], json!({"resourceVersion": server.head().to_string()}));
    assert_eq!(names(&all), ["api", "web", "api"]);
    for item in all["items"].as_array().unwrap() {
        assert_eq!((&item["kind"], &item["apiVersion"]), (&json!("Workload"), &json!("kuma.io/v1alpha1")));
    }
    let shop = server.get("/apis/kuma.io/v1alpha1/namespaces/shop/workloads/").await.ok();
    assert_eq!(names(&shop), ["api"]);
    for nowhere in ["nowhere", "No_Namespace", "%1b%5b2J"] {
        let path = format!("/apis/kuma.io/v1alpha1/namespaces/{nowhere}/workloads");
        assert_eq!(server.get(&path).await.ok()["items"], json!([]), "{nowhere}");
        assert_eq!(server.get_as(&path, TABLE).await.ok()["rows"], json!([]), "{nowhere}");
    }
}

#[tokio::test]
async fn all_pages_of_a_list_show_one_revision() {
    let server = Server::start().await;
    let first: Vec<_> = ["a", "b", "c"].iter().map(|name| server.join(name, 1)).collect();
    let revision = server.head().to_string();
    let page = server.get(&format!("{IN_DEFAULT}?limit=2")).await.ok();
    assert_eq!((names(&page), &page["metadata"]["resourceVersion"]), (vec!["a", "b"], &json!(revision)));
    let token = page["metadata"]["continue"].as_str().unwrap().to_owned();
    let _new = server.join("bb", 1);
    first.into_iter().nth(2).unwrap().goodbye();
    let page = server.get(&format!("{IN_DEFAULT}?limit=2&continue={token}")).await.ok();
    assert_eq!((names(&page), &page["metadata"]["resourceVersion"]), (vec!["c"], &json!(revision)));
    assert!(page["metadata"]["continue"].is_null());
    let table = server.get_as(&format!("{IN_DEFAULT}?limit=1"), TABLE).await.ok();
    assert!(table["metadata"]["continue"].is_string());

    let other = server.get(&format!("{WORKLOADS}?limit=2&continue={token}")).await;
    other.assert_status(400, "BadRequest", &["continue", "another filter"]);
    for bad in ["nonsense", "p1", "%1b"] {
        let response = server.get(&format!("{WORKLOADS}?continue={bad}")).await;
        response.assert_status(400, "BadRequest", &["continue", "is not a token"]);
    }
}

#[tokio::test]
async fn a_page_expires_when_the_log_no_longer_reaches_its_revision() {
    let server = Server::with(|config| config.registry.log_capacity = 4).await;
    let _proxies = [server.join("a", 1), server.join("b", 1)];
    let page = server.get(&format!("{IN_DEFAULT}?limit=1")).await.ok();
    let token = page["metadata"]["continue"].as_str().unwrap();
    let _more: Vec<_> = (2..9).map(|number| server.join("b", number)).collect();
    server.get(&format!("{IN_DEFAULT}?limit=1&continue={token}")).await.assert_status(
        410,
        "Expired",
        &["list again"],
    );
    let other = Server::start().await;
    let _proxy = other.join("a", 1);
    other.get(&format!("{IN_DEFAULT}?continue={token}")).await.assert_status(
        410,
        "Expired",
        &["not issued by this run of the server"],
    );
}

#[tokio::test]
async fn a_list_shows_the_requested_revision() {
    let server = Server::start().await;
    let _first = server.join("a", 1);
    let early = server.head();
    let _second = server.join("b", 1);
    let (head, future) = (server.head(), server.head() + 1);
    for (query, found) in [
        ("resourceVersion=".to_owned(), vec!["a", "b"]),
        ("resourceVersion=0".to_owned(), vec!["a", "b"]),
        (format!("resourceVersion={early}"), vec!["a", "b"]),
        (format!("resourceVersion={early}&resourceVersionMatch=NotOlderThan"), vec!["a", "b"]),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan".to_owned(), vec!["a", "b"]),
        (format!("resourceVersion={early}&resourceVersionMatch=Exact"), vec!["a"]),
        // As kube-apiserver does if there is a limit.
        (format!("resourceVersion={early}&limit=500"), vec!["a"]),
        (format!("resourceVersion={head}&resourceVersionMatch=Exact"), vec!["a", "b"]),
    ] {
        assert_eq!(names(&server.get(&format!("{WORKLOADS}?{query}")).await.ok()), found, "{query}");
    }
    for query in
        [format!("resourceVersion={future}"), format!("resourceVersion={future}&resourceVersionMatch=Exact")]
    {
        let response = server.get(&format!("{WORKLOADS}?{query}")).await;
        response.assert_status(504, "Timeout", &["Too large resource version"]);
        assert_eq!(response.header("retry-after"), "1");
        let details = &response.json()["details"];
        assert_eq!(details["causes"][0]["reason"], "ResourceVersionTooLarge");
        assert_eq!(details["retryAfterSeconds"], 1);
    }
    let one = |revision| format!("{IN_DEFAULT}/a?resourceVersion={revision}");
    assert_eq!(server.get(&one(head)).await.code, 200);
    server.get(&one(future)).await.assert_status(504, "Timeout", &["Too large"]);
    let old = server.get(&format!("{WORKLOADS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    old.assert_status(410, "Expired", &["list again"]);
}

#[tokio::test]
async fn a_list_of_ten_thousand_is_complete() {
    let server = Server::start().await;
    let _proxies: Vec<_> = (0..10_000).map(|n| server.join(&format!("w{n:05}"), 1)).collect();
    for (accept, items) in [("application/json", "items"), (TABLE, "rows")] {
        let list = server.get_as(WORKLOADS, accept).await.ok();
        assert_eq!(list[items].as_array().unwrap().len(), 10_000);
    }
}
