//! Two meshes that use one Workload name: which mesh holds it, and the event about the conflict.

use headcount::proto::{Dataplane, Event, EventType, ListEventsRequest, WatchEventsRequest};
use tonic::Code;

use crate::support::{Server, assert_status, counts_by_workload, dataplane, in_time, still_serves};

fn of_mesh(mesh: &str, name: &str) -> Dataplane {
    Dataplane { mesh: mesh.into(), ..dataplane(name, "web") }
}

async fn events(server: &Server, request: ListEventsRequest) -> Vec<Event> {
    let listed = in_time("events", server.events().list_events(request)).await;
    listed.unwrap().into_inner().events
}

#[tokio::test]
async fn the_first_mesh_holds_the_workload_and_the_other_gets_a_warning() {
    let server = Server::start().await;
    let mut holder = server.proxy(of_mesh("first", "a")).await;
    holder.ready().await;
    let mut other = server.proxy(of_mesh("second", "a")).await;
    let [warning] = &other.welcome.warnings[..] else {
        panic!("one warning: {:?}", other.welcome.warnings);
    };
    for part in ["multiple meshes", "mesh first holds the name", "Use one mesh per name"] {
        assert!(warning.contains(part), "{part} is not in {warning}");
    }
    other.ready().await;
    let list = server.list().await.workloads;
    assert_eq!(counts_by_workload(&list), [("default/web/first".to_owned(), (1, 1, 1))].into());

    // The holder sends a goodbye: the Workload is created again, for the other mesh.
    holder.goodbye().await;
    let list = server.list().await.workloads;
    assert_eq!(counts_by_workload(&list), [("default/web/second".to_owned(), (1, 1, 1))].into());
    still_serves(&server).await;
}

#[tokio::test]
async fn a_workload_that_two_other_meshes_use_has_no_holder() {
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
    assert_eq!(counts_by_workload(&list), [("default/web/third".to_owned(), (1, 0, 1))].into());
}

#[tokio::test]
async fn a_repeated_conflict_increases_the_count_of_one_event() {
    let server = Server::start().await;
    let watch = server.events().watch_events(WatchEventsRequest::default()).await;
    let mut watch = watch.unwrap().into_inner();
    let _holder = server.proxy(of_mesh("first", "a")).await;
    let mut proxies = Vec::new();
    let mut seen = Vec::new();
    for count in 1..=3 {
        proxies.push(server.proxy(of_mesh("second", &format!("b{count}"))).await);
        let events = in_time("an event", watch.message()).await.unwrap().unwrap().events;
        assert_eq!((events.len(), events[0].count), (1, count));
        seen.extend(events);
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
    assert!(event.message.contains("Skipping Workload generation"), "{event:?}");
    let regarding = event.regarding.as_ref().unwrap();
    assert_eq!((&*regarding.name, &*regarding.mesh), ("web", "first"));

    // A later watch starts with the existing events.
    let late = server.events().watch_events(WatchEventsRequest::default()).await;
    let late = in_time("an event", late.unwrap().into_inner().message()).await;
    assert_eq!(late.unwrap().unwrap().events, listed);
}

#[tokio::test]
async fn events_are_filtered_by_namespace_and_workload() {
    let server = Server::start().await;
    let mut proxies = Vec::new();
    for (namespace, workload) in [("shop", "web"), ("bank", "api")] {
        for mesh in ["first", "second"] {
            let mut dataplane = dataplane("a", workload);
            (dataplane.mesh, dataplane.namespace) = (mesh.into(), namespace.into());
            proxies.push(server.proxy(dataplane).await);
        }
    }
    for (namespace, workload, expected) in
        [("", "", &["web", "api"][..]), ("shop", "", &["web"]), ("", "api", &["api"]), ("shop", "api", &[])]
    {
        let request = ListEventsRequest { namespace: namespace.into(), workload: workload.into() };
        let found = events(&server, request).await;
        let names: Vec<_> = found.into_iter().map(|e| e.regarding.unwrap().name).collect();
        assert_eq!(names, expected);
    }
    let bad = ListEventsRequest { namespace: "A".into(), ..ListEventsRequest::default() };
    let status = server.events().list_events(bad).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, &["namespace: ", "DNS-1123 label"]);
    let bad = WatchEventsRequest { workload: "A".into(), ..WatchEventsRequest::default() };
    let status = server.events().watch_events(bad).await.unwrap_err();
    assert_status(&status, Code::InvalidArgument, &["workload: ", "DNS-1123"]);
}
