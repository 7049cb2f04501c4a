//! Events, which `kubectl describe` and `kubectl events` print.

use serde_json::json;

use crate::support::{EVENTS, IN_DEFAULT, Server, TABLE};

/// Connects dataplanes of two meshes with the same workload name.
fn conflict(server: &Server, workload: &str) -> [headcount::registry::Session; 2] {
    [server.join(workload, 1), server.join_in("other", "default", workload, 2)]
}

#[tokio::test]
async fn a_mesh_conflict_is_a_core_event_about_the_workload() {
    let server = Server::start().await;
    let _proxies = conflict(&server, "web");
    let _again = server.join_in("other", "default", "web", 3);
    let list = server.get(EVENTS).await.ok();
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("EventList"), &json!("v1")));
    let event = &list["items"][0];
    assert_eq!(
        (&event["kind"], &event["type"], &event["count"]),
        (&json!("Event"), &json!("Warning"), &json!(2))
    );
    assert_eq!(
        (&event["reason"], &event["source"]),
        (&json!("MultipleMeshesDetected"), &json!({"component": "headcount"}))
    );
    let web = server.get(&format!("{IN_DEFAULT}/web")).await.ok();
    let involved = json!({
        "apiVersion": "kuma.io/v1alpha1",
        "kind": "Workload",
        "name": "web",
        "namespace": "default",
        "uid": web["metadata"]["uid"],
    });
    assert_eq!(event["involvedObject"], involved);
    assert_eq!(list["metadata"]["resourceVersion"], event["metadata"]["resourceVersion"]);
    for time in ["firstTimestamp", "lastTimestamp"] {
        assert!(event[time].as_str().unwrap().ends_with('Z'));
    }
    let name = event["metadata"]["name"].as_str().unwrap();
    assert_eq!(&server.get(&format!("{EVENTS}/{name}")).await.ok(), event);
    assert_eq!(server.get("/api/v1/events").await.ok()["items"].as_array().unwrap().len(), 1);
    assert_eq!(server.get("/api/v1/namespaces/shop/events").await.ok()["items"], json!([]));

    let table = server.get_as(&format!("{EVENTS}?limit=500"), TABLE).await.ok();
    let columns: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|column| &column["name"]).collect();
    assert_eq!(columns[..5], ["Last Seen", "Type", "Reason", "Object", "Message"]);
    assert_eq!(table["rows"][0]["cells"][3], "workload/web");
}

/// `kubectl describe` sends such a selector, with its terms in any order.
#[tokio::test]
async fn events_can_be_selected_by_their_object() {
    let server = Server::start().await;
    let _proxies = [conflict(&server, "web"), conflict(&server, "api")];
    let web = server.get(&format!("{IN_DEFAULT}/web")).await.ok();
    let uid = web["metadata"]["uid"].as_str().unwrap();
    let described = format!(
        "involvedObject.uid%3D{uid}%2CinvolvedObject.name%3Dweb%2CinvolvedObject.kind%3DWorkload%2C\
         involvedObject.namespace%3Ddefault"
    );
    for (selector, found) in [
        (described.as_str(), 1),
        ("involvedObject.name=web", 1),
        ("involvedObject.name=db", 0),
        ("involvedObject.uid=0", 0),
        ("involvedObject.kind=Pod", 0),
        ("involvedObject.apiVersion=kuma.io/v1alpha1,involvedObject.fieldPath=", 2),
        ("type=Warning,reason=MultipleMeshesDetected,source=headcount", 2),
        ("type!=Warning", 0),
        ("metadata.namespace=default,metadata.name!=x", 2),
    ] {
        let list = server.get(&format!("{EVENTS}?limit=500&fieldSelector={selector}")).await.ok();
        assert_eq!(list["items"].as_array().unwrap().len(), found, "{selector}");
    }
    let labels = server.get(&format!("{EVENTS}?labelSelector=a=b")).await.ok();
    assert_eq!(labels["items"], json!([]), "events have no labels");
    server.get(&format!("{EVENTS}?fieldSelector=count=1")).await.assert_status(
        400,
        "BadRequest",
        &["not supported: count"],
    );
}

#[tokio::test]
async fn a_watch_sends_new_and_repeated_events() {
    let server = Server::start().await;
    let first = conflict(&server, "web");
    let list = server.get(EVENTS).await.ok();
    let from = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let mut watch = server.watch(&format!("{EVENTS}?watch=true&resourceVersion={from}")).await;
    let mut other = server
        .watch(&format!("{EVENTS}?watch=true&resourceVersion={from}&fieldSelector=involvedObject.name=api"))
        .await;
    let _again = server.join_in("other", "default", "web", 3);
    let again = watch.next().await.unwrap();
    assert_eq!((&again["type"], &again["object"]["count"]), (&json!("MODIFIED"), &json!(2)));
    let _new = conflict(&server, "api");
    for watch in [&mut watch, &mut other] {
        let new = watch.next().await.unwrap();
        assert_eq!(
            (&new["type"], &new["object"]["involvedObject"]["name"]),
            (&json!("ADDED"), &json!("api"))
        );
    }
    let streamed = format!(
        "{EVENTS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut streamed = server.watch(&streamed).await;
    for kind in ["ADDED", "ADDED", "BOOKMARK"] {
        assert_eq!(streamed.next().await.unwrap()["type"], kind);
    }
    drop(first);
}

#[tokio::test]
async fn resource_versions_of_events_expire() {
    let server = Server::start().await;
    let _proxies = conflict(&server, "web");
    for out_of_reach in ["999", "1002", "18446744073709551615"] {
        let mut watch = server.watch(&format!("{EVENTS}?watch=true&resourceVersion={out_of_reach}")).await;
        let error = watch.next().await.unwrap();
        assert_eq!(
            (&error["type"], &error["object"]["reason"]),
            (&json!("ERROR"), &json!("Expired")),
            "{out_of_reach}"
        );
        watch.assert_ends().await;
    }
    server.get(&format!("{EVENTS}?resourceVersion=1002")).await.assert_status(504, "Timeout", &["Too large"]);
    let exact = |number| format!("{EVENTS}?resourceVersion={number}&resourceVersionMatch=Exact");
    assert_eq!(server.get(&exact(1_001)).await.code, 200);
    server.get(&exact(1_000)).await.assert_status(410, "Expired", &["too old"]);
    server.get(&format!("{EVENTS}?continue=x")).await.assert_status(400, "BadRequest", &["only one page"]);
}
