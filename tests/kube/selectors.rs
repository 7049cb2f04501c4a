//! Label and field selectors.

use crate::support::{IN_DEFAULT, Server, WORKLOADS, names, watch_event};

#[tokio::test]
async fn lists_contain_the_selected_objects() {
    let server = Server::start().await;
    let _proxies = [server.join("web", 1), server.join("api", 1), server.join_in("other", "shop", "web", 1)];
    for (query, found) in [
        ("fieldSelector=metadata.name%3Dweb", vec!["default/web", "shop/web"]),
        ("fieldSelector=metadata.name%3D%3Dweb%2Cmetadata.namespace%3Dshop", vec!["shop/web"]),
        ("fieldSelector=metadata.namespace!=shop", vec!["default/api", "default/web"]),
        ("fieldSelector=metadata.name=No_Name", vec![]),
        ("fieldSelector=metadata.name=web,metadata.name=api", vec![]),
        ("labelSelector=kuma.io/mesh%3Dother", vec!["shop/web"]),
        ("labelSelector=kuma.io/mesh+in+(other,third)", vec!["shop/web"]),
        ("labelSelector=kuma.io/mesh!=other", vec!["default/api", "default/web"]),
        ("labelSelector=kuma.io/mesh notin (default)".replace(' ', "%20").leak(), vec!["shop/web"]),
        ("labelSelector=!kuma.io/zone,kuma.io/mesh", vec!["default/api", "default/web", "shop/web"]),
        ("labelSelector=absent!=x&fieldSelector=metadata.name=api", vec!["default/api"]),
        ("labelSelector=absent", vec![]),
        ("labelSelector=&fieldSelector=", vec!["default/api", "default/web", "shop/web"]),
    ] {
        let list = server.get(&format!("{WORKLOADS}?{query}")).await.ok();
        let items = list["items"].as_array().unwrap().iter();
        let keys: Vec<_> = items
            .map(|item| {
                let of = |name: &str| item["metadata"][name].as_str().unwrap().to_owned();
                format!("{}/{}", of("namespace"), of("name"))
            })
            .collect();
        assert_eq!(keys, found, "{query}");
    }
    let within = server.get(&format!("{IN_DEFAULT}?fieldSelector=metadata.namespace=shop")).await.ok();
    assert!(names(&within).is_empty());
}

#[tokio::test]
async fn invalid_selectors_are_rejected_with_the_messages_of_kubernetes() {
    let server = Server::start().await;
    let long = format!("labelSelector=a%3D{}", "b".repeat(5_000));
    for (query, words) in [
        ("fieldSelector=status.x%3D1", &["field label not supported: status.x"][..]),
        ("fieldSelector=metadata.name", &["fieldSelector", "expected field=value"]),
        ("labelSelector=a%3Db%3Dc", &["labelSelector", "may not contain '='"]),
        ("labelSelector=a+within+(b)", &["labelSelector", "expected `key in (a,b)`"]),
        ("labelSelector=%1b%5b2J", &["labelSelector"]),
        (&long, &["labelSelector", "at most"]),
    ] {
        for watch in ["", "&watch=true"] {
            let response = server.get(&format!("{WORKLOADS}?{query}{watch}")).await;
            response.assert_status(400, "BadRequest", words);
            assert!(response.body.len() < 2_000 && !response.body.contains(&0x1b), "{query}");
        }
    }
}

#[tokio::test]
async fn a_watch_sends_only_selected_objects() {
    let server = Server::start().await;
    let from = server.head();
    let path = format!("{WORKLOADS}?watch=1&resourceVersion={from}&fieldSelector=metadata.name%3Dweb");
    let mut watch = server.watch(&path).await;
    let labels = format!("{WORKLOADS}?watch=1&resourceVersion={from}&labelSelector=kuma.io/mesh%3Dother");
    let mut others = server.watch(&labels).await;
    let web = server.join("web", 1);
    let _api = server.join("api", 1);
    let _other = server.join_in("other", "default", "web", 2);
    assert_eq!(watch.event().await, watch_event("ADDED", "web", from + 1, [1, 0, 1]));
    // The name passes to the other mesh: a new object, with other labels.
    web.goodbye();
    assert_eq!(watch.event().await, watch_event("DELETED", "web", from + 3, [1, 0, 1]));
    assert_eq!(watch.event().await, watch_event("ADDED", "web", from + 4, [1, 0, 1]));
    assert_eq!(others.event().await, watch_event("ADDED", "web", from + 4, [1, 0, 1]));
}

/// A rolling replacement of all proxies of a Workload by ones of another zone.
#[tokio::test]
async fn a_label_that_changes_ends_one_selection_and_begins_another() {
    let server = Server::start().await;
    let old = [server.join_zone("east", "web", 1), server.join_zone("east", "web", 2)];
    let from = server.head();
    let watch =
        |selector: &str| format!("{WORKLOADS}?watch=true&resourceVersion={from}&labelSelector={selector}");
    let mut east = server.watch(&watch("kuma.io/zone=east")).await;
    let mut west = server.watch(&watch("kuma.io/zone=west")).await;
    let mut all = server.watch(&watch("")).await;
    let uid = |list: &serde_json::Value| list["items"][0]["metadata"]["uid"].as_str().unwrap().to_owned();
    let before = uid(&server.get(WORKLOADS).await.ok());

    let _first = server.join_zone("west", "web", 3);
    assert_eq!(east.event().await, watch_event("DELETED", "web", from + 1, [2, 0, 2]));
    assert_eq!(all.event().await, watch_event("MODIFIED", "web", from + 1, [3, 0, 3]));
    let [one, two] = old;
    one.goodbye();
    assert_eq!(all.event().await, watch_event("MODIFIED", "web", from + 2, [2, 0, 2]));
    let _second = server.join_zone("west", "web", 4);
    assert_eq!(all.event().await, watch_event("MODIFIED", "web", from + 3, [3, 0, 3]));
    two.goodbye();
    assert_eq!(all.event().await, watch_event("MODIFIED", "web", from + 4, [2, 0, 2]));
    assert_eq!(west.event().await, watch_event("ADDED", "web", from + 4, [2, 0, 2]));
    let list = server.get(&format!("{WORKLOADS}?labelSelector=kuma.io/zone=west")).await.ok();
    assert_eq!(uid(&list), before, "the same object");
}
