//! One name, two meshes: who holds the Workload, and what a person hears of it.

use headcount::proto::{Dataplane, Event, EventType, ListEventsRequest, WatchEventsRequest};
use tonic::Code;

use crate::support::{Server, assert_says, dataplane, numbers, soon, still_serves};

fn of_mesh(mesh: &str, name: &str) -> Dataplane {
    Dataplane {
        mesh: mesh.into(),
        ..dataplane(name, "web")
    }
}

async fn events(server: &Server, request: ListEventsRequest) -> Vec<Event> {
    let listed = soon("events", server.events().list_events(request)).await;
    listed.unwrap().into_inner().events
}

#[tokio::test]
async fn the_mesh_that_holds_a_workload_keeps_it_and_the_other_is_warned() {
    let server = Server::start().await;
    let mut holder = server.proxy(of_mesh("first", "a")).await;
    holder.ready().await;
    let mut other = server.proxy(of_mesh("second", "a")).await;
    let [warning] = &other.welcome.warnings[..] else {
        panic!("one warning: {:?}", other.welcome.warnings);
    };
    for word in [
        "multiple meshes",
        "mesh first holds the name",
        "Use one mesh per name",
    ] {
        assert!(warning.contains(word), "{word} is not in {warning}");
    }
    other.ready().await;
    let list = server.list().await.workloads;
    assert_eq!(
        numbers(&list),
        [("default/web/first".to_owned(), (1, 1, 1))].into()
    );

    // The holder leaves for good: the Workload is made anew for the other mesh.
    holder.goodbye().await;
    let list = server.list().await.workloads;
    assert_eq!(
        numbers(&list),
        [("default/web/second".to_owned(), (1, 1, 1))].into()
    );
    still_serves(&server).await;
}

#[tokio::test]
async fn while_two_others_are_left_nobody_gets_it() {
    let server = Server::start().await;
    let holder = server.proxy(of_mesh("first", "a")).await;
    let second = server.proxy(of_mesh("second", "a")).await;
    let _third = server.proxy(of_mesh("third", "a")).await;
    holder.goodbye().await;
    assert_eq!(server.list().await.workloads, []);
    let late = server.proxy(of_mesh("second", "b")).await;
    assert!(late.welcome.warnings[0].contains("no mesh holds the name"));
    second.goodbye().await;
    assert_eq!(server.list().await.workloads, []);
    late.goodbye().await;
    let list = server.list().await.workloads;
    assert_eq!(
        numbers(&list),
        [("default/web/third".to_owned(), (1, 0, 1))].into()
    );
}

#[tokio::test]
async fn a_conflict_is_one_event_whose_count_grows() {
    let server = Server::start().await;
    let watch = server.events().watch_events(WatchEventsRequest::default()).await;
    let mut watch = watch.unwrap().into_inner();
    let _holder = server.proxy(of_mesh("first", "a")).await;
    let mut kept = Vec::new();
    let mut seen = Vec::new();
    for count in 1..=3 {
        kept.push(server.proxy(of_mesh("second", &format!("b{count}"))).await);
        let news = soon("an event", watch.message()).await.unwrap().unwrap().events;
        assert_eq!((news.len(), news[0].count), (1, count));
        seen.extend(news);
    }
    assert!(seen.iter().all(|event| event.uid == seen[0].uid));
    assert!(seen.iter().all(|event| event.first_time == seen[0].first_time));

    let listed = events(&server, ListEventsRequest::default()).await;
    let [event] = &listed[..] else {
        panic!("one event: {listed:?}");
    };
    assert_eq!(event, &seen[2]);
    assert_eq!(event.r#type(), EventType::Warning);
    assert_eq!(event.reason, "MultipleMeshesDetected");
    assert!(
        event.message.contains("Skipping Workload generation"),
        "{event:?}"
    );
    let regarding = event.regarding.as_ref().unwrap();
    assert_eq!((&*regarding.name, &*regarding.mesh), ("web", "first"));

    // Who comes late hears what there is.
    let late = server.events().watch_events(WatchEventsRequest::default()).await;
    let late = soon("an event", late.unwrap().into_inner().message()).await;
    assert_eq!(late.unwrap().unwrap().events, listed);
}

#[tokio::test]
async fn events_are_filtered() {
    let server = Server::start().await;
    let mut kept = Vec::new();
    for (namespace, workload) in [("shop", "web"), ("bank", "api")] {
        for mesh in ["first", "second"] {
            let mut stated = dataplane("a", workload);
            (stated.mesh, stated.namespace) = (mesh.into(), namespace.into());
            kept.push(server.proxy(stated).await);
        }
    }
    for (namespace, workload, expected) in [
        ("", "", &["web", "api"][..]),
        ("shop", "", &["web"]),
        ("", "api", &["api"]),
        ("shop", "api", &[]),
    ] {
        let request = ListEventsRequest {
            namespace: namespace.into(),
            workload: workload.into(),
        };
        let found = events(&server, request).await;
        let names: Vec<_> = found.into_iter().map(|e| e.regarding.unwrap().name).collect();
        assert_eq!(names, expected);
    }
    let bad = ListEventsRequest {
        namespace: "A".into(),
        ..ListEventsRequest::default()
    };
    let status = server.events().list_events(bad).await.unwrap_err();
    assert_says(&status, Code::InvalidArgument, &["namespace: ", "DNS-1123 label"]);
    let bad = WatchEventsRequest {
        workload: "A".into(),
        ..WatchEventsRequest::default()
    };
    let status = server.events().watch_events(bad).await.unwrap_err();
    assert_says(&status, Code::InvalidArgument, &["workload: ", "DNS-1123"]);
}
