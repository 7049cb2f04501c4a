//! Watches of Workloads.

use serde_json::json;

use crate::support::{IN_DEFAULT, Server, WORKLOADS, WatchEvent, report, watch_event};

#[tokio::test]
async fn a_watch_sends_each_change_as_a_line() {
    let server = Server::start().await;
    let from = server.head();
    let response =
        server.get(&format!("{WORKLOADS}?watch=true&resourceVersion={from}&timeoutSeconds=1")).await;
    assert_eq!(response.header("content-type"), "application/json");
    assert_eq!((response.code, response.body.len()), (200, 0), "an idle watch ends after its timeout");

    let mut watch = server.watch(&format!("{WORKLOADS}?watch=true&resourceVersion={from}")).await;
    let mut first = server.join("web", 1);
    assert_eq!(watch.event().await, watch_event("ADDED", "web", from + 1, [1, 0, 1]));
    report(&mut first, 1, true);
    assert_eq!(watch.event().await, watch_event("MODIFIED", "web", from + 2, [1, 1, 1]));
    drop(first);
    assert_eq!(
        watch.event().await,
        watch_event("MODIFIED", "web", from + 3, [0, 0, 1]),
        "disconnected, and still registered"
    );
    server.join("web", 1).goodbye();
    // It reconnected and left: the state in between may be skipped.
    let mut last = watch.event().await;
    if last.r#type == "MODIFIED" {
        last = watch.event().await;
    }
    assert_eq!((last.r#type.as_str(), last.revision), ("DELETED", from + 5), "the revision of the deletion");
}

#[tokio::test]
async fn a_watch_starts_at_the_requested_revision() {
    let server = Server::start().await;
    let _a = server.join("a", 1);
    let early = server.head();
    let _b = server.join("b", 1);
    let _again = server.join("a", 2);
    let head = server.head();
    let (a, a_now) =
        (watch_event("ADDED", "a", early + 2, [2, 0, 2]), watch_event("MODIFIED", "a", early + 2, [2, 0, 2]));
    let b_new = watch_event("ADDED", "b", early + 1, [1, 0, 1]);
    let mut watches = Vec::new();
    for (query, expected) in [
        (String::new(), vec![b_new.clone(), a.clone()]),
        ("&resourceVersion=".into(), vec![b_new.clone(), a.clone()]),
        ("&resourceVersion=0".into(), vec![b_new.clone(), a.clone()]),
        (format!("&resourceVersion={early}"), vec![b_new.clone(), a_now.clone()]),
        (format!("&resourceVersion={}", early + 1), vec![a_now.clone()]),
        (format!("&resourceVersion={head}"), vec![]),
        ("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan".into(), vec![]),
        (
            format!("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&resourceVersion={early}"),
            vec![b_new, a_now],
        ),
    ] {
        let mut watch = server.watch(&format!("{WORKLOADS}?watch=true{query}")).await;
        for event in expected {
            assert_eq!(watch.event().await, event, "{query}");
        }
        watches.push(watch);
    }
    // Nothing else is sent before this.
    let _last = server.join("z", 1);
    for mut watch in watches {
        assert_eq!(watch.event().await, watch_event("ADDED", "z", head + 1, [1, 0, 1]));
    }
}

#[tokio::test]
async fn a_streaming_list_marks_the_end_of_the_initial_events() {
    let server = Server::start().await;
    let _proxies = [server.join("a", 1), server.join("b", 1)];
    let head = server.head();
    let path = format!(
        "{IN_DEFAULT}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watches = Vec::new();
    for from in ["", "&resourceVersion=0", &format!("&resourceVersion={head}")] {
        let mut watch = server.watch(&format!("{path}{from}")).await;
        assert_eq!(watch.event().await.name, "a");
        assert_eq!(watch.event().await.name, "b");
        let end = watch.next().await.unwrap();
        let metadata = json!({
            "resourceVersion": head.to_string(),
            "annotations": {"k8s.io/initial-events-end": "true"},
        });
        let object = json!({"kind": "Workload", "apiVersion": "kuma.io/v1alpha1", "metadata": metadata});
        assert_eq!(end, json!({"type": "BOOKMARK", "object": object}));
        watches.push(watch);
    }
    let _c = server.join("c", 1);
    for mut watch in watches {
        assert_eq!(
            watch.event().await,
            watch_event("ADDED", "c", head + 1, [1, 0, 1]),
            "changes follow the initial events"
        );
    }
    let future = format!("{path}&resourceVersion={}", server.head() + 1);
    server.get(&future).await.assert_status(504, "Timeout", &["Too large"]);
}

#[tokio::test]
async fn an_empty_streaming_list_has_only_the_end_mark() {
    let server = Server::start().await;
    let path = format!(
        "{WORKLOADS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let end = server.watch(&path).await.next().await.unwrap();
    assert_eq!(
        (&end["type"], &end["object"]["metadata"]["resourceVersion"]),
        (&json!("BOOKMARK"), &json!("1000"))
    );
}

#[tokio::test]
async fn bookmarks_are_sent_to_clients_that_accept_them() {
    let server =
        Server::with(|config| config.registry.bookmark_interval = std::time::Duration::from_millis(50)).await;
    let from = server.head();
    let mut accepting = server
        .watch(&format!("{WORKLOADS}?watch=true&resourceVersion={from}&allowWatchBookmarks=true"))
        .await;
    let mut other = server.watch(&format!("{WORKLOADS}?watch=true&resourceVersion={from}")).await;
    assert_eq!(accepting.event().await, watch_event("BOOKMARK", "", from, [0; 3]));
    let _proxy = server.join("web", 1);
    assert_eq!(other.event().await.r#type, "ADDED");
    let mut event = accepting.event().await;
    while event.r#type == "BOOKMARK" {
        event = accepting.event().await;
    }
    assert_eq!(event.r#type, "ADDED");
    assert_eq!(accepting.event().await, watch_event("BOOKMARK", "", from + 1, [0; 3]));
}

/// As kube-apiserver does, so that informers list again: status 200, and an error in the stream.
#[tokio::test]
async fn a_watch_from_an_unavailable_revision_ends_with_an_error() {
    let server = Server::with(|config| config.registry.log_capacity = 2).await;
    let from = server.head();
    let _proxies: Vec<_> = (0..4).map(|number| server.join("web", number)).collect();
    let head = server.head();
    for (requested, words) in [
        (from, format!("too old resource version: {from} ({head})")),
        (1, format!("too old resource version: 1 ({head})")),
        (head + 1, format!("not issued by this run of the server, whose latest is {head}")),
        (u64::MAX, "not issued by this run".into()),
    ] {
        let mut watch = server.watch(&format!("{WORKLOADS}?watch=true&resourceVersion={requested}")).await;
        let error = watch.next().await.unwrap();
        assert_eq!(error["type"], "ERROR", "{requested}");
        let status = &error["object"];
        assert_eq!(
            (&status["code"], &status["reason"], &status["kind"]),
            (&json!(410), &json!("Expired"), &json!("Status"))
        );
        assert!(status["message"].as_str().unwrap().contains(&words), "{status}");
        watch.assert_ends().await;
    }
}

/// Events are sent in the order of their revisions, so that a client whose watch is
/// disconnected after any of them can resume.
#[tokio::test]
async fn a_client_resumes_after_any_event_without_a_gap() {
    let server = Server::start().await;
    let from = server.head();
    let mut sessions = Vec::new();
    for (name, number) in [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("b", 2), ("a", 3)] {
        sessions.push(server.join(name, number));
    }
    let mut all = server.watch(&format!("{WORKLOADS}?watch=true&resourceVersion={from}")).await;
    let sent: Vec<WatchEvent> = [all.event().await, all.event().await, all.event().await].into();
    assert!(sent.is_sorted_by_key(|event| event.revision), "{sent:?}");
    for cut in 0..3 {
        let resumed = format!("{WORKLOADS}?watch=true&resourceVersion={}", sent[cut].revision);
        let mut resumed = server.watch(&resumed).await;
        for expected in &sent[cut + 1..] {
            let received = resumed.event().await;
            assert_eq!(
                (&received.name, received.revision, received.counts),
                (&expected.name, expected.revision, expected.counts)
            );
        }
    }
}
