//! `WatchWorkloads`: a snapshot and then every change, which add up to what `ListWorkloads` returns.

use std::time::Duration;

use headcount::{
    model::{Dataplane, DataplaneLimits, DataplaneSpec},
    proto::WorkloadFilter,
    registry::ConnectOptions,
};

use crate::{
    support::{Server, dataplane, still_serves},
    watcher::Watcher,
};

fn selecting(selector: &str) -> WorkloadFilter {
    WorkloadFilter { label_selector: selector.into(), ..WorkloadFilter::default() }
}

#[tokio::test]
async fn a_watch_of_an_empty_server_is_in_sync_at_once() {
    let server = Server::start().await;
    let mut watch = Watcher::open(server.workloads(), WorkloadFilter::default(), "").await;
    let first = watch.next().await;
    assert!(first.reset && first.synced && !first.resume_token.is_empty());
    assert_eq!((first.revision, first.upserted.len(), first.removed.len()), (0, 0, 0));
}

#[tokio::test]
async fn a_watch_starts_with_a_snapshot_and_delivers_each_change() {
    let server = Server::start().await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let _api = server.proxy(dataplane("b", "api")).await;
    let mut watch = Watcher::open(server.workloads(), WorkloadFilter::default(), "").await;
    let first = watch.next().await;
    assert!(first.reset && first.synced);
    assert_eq!(first.revision, 2);
    assert_eq!(first.upserted, server.list().await.workloads);

    web.ready().await;
    let delta = watch.next().await;
    assert!(!delta.reset && delta.synced);
    assert_eq!((delta.revision, delta.upserted.len(), delta.removed.len()), (3, 1, 0));
    assert_eq!(delta.upserted[0].revision, 3);
    assert_eq!(watch.counts("web"), (1, 1, 1));

    web.goodbye().await;
    let delta = watch.next().await;
    assert_eq!((delta.revision, delta.upserted.len(), delta.removed.len()), (4, 0, 1));
    let removed = &delta.removed[0];
    assert_eq!((&*removed.namespace, &*removed.name, &*removed.mesh), ("default", "web", "default"));
    assert_eq!(watch.workloads(), server.list().await.workloads);
}

#[tokio::test]
async fn a_report_that_changes_nothing_sends_nothing() {
    let server = Server::start().await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    web.ready().await;
    let mut watch = server.watch().await;
    for _ in 0..10 {
        web.ready().await;
    }
    web.not_ready().await;
    let next = watch.next().await;
    assert_eq!((next.revision, watch.counts("web")), (3, (1, 0, 1)));
}

#[tokio::test]
async fn a_dataplane_without_a_workload_sends_nothing() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let mut unlabelled = dataplane("a", "web");
    unlabelled.labels.clear();
    let mut unlabelled = server.proxy(unlabelled).await;
    unlabelled.ready().await;
    unlabelled.goodbye().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    assert_eq!(watch.next().await.revision, 1);
}

#[tokio::test]
async fn a_filtered_watch_delivers_only_matching_workloads() {
    let server = Server::start().await;
    let mut watch = server.watch_from(selecting("kuma.io/mesh=default"), "").await;
    let mut elsewhere = dataplane("a", "api");
    elsewhere.mesh = "other".into();
    let mut elsewhere = server.proxy(elsewhere).await;
    elsewhere.ready().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    let next = watch.next().await;
    assert_eq!((next.revision, next.upserted.len()), (3, 1));
    assert_eq!(next.upserted[0].name, "web");
}

/// When the holder leaves, the Workload moves to the other mesh, and its labels change.
#[tokio::test]
async fn a_workload_that_stops_matching_is_removed_and_one_that_starts_matching_is_added() {
    let server = Server::start().await;
    let holder = server.proxy(dataplane("a", "web")).await;
    let mut second = dataplane("a", "web");
    second.mesh = "other".into();
    let _second = server.proxy(second).await;
    let mut of_default = server.watch_from(selecting("kuma.io/mesh=default"), "").await;
    let mut of_other = server.watch_from(selecting("kuma.io/mesh=other"), "").await;
    assert_eq!((of_default.state.len(), of_other.state.len()), (1, 0));

    holder.goodbye().await;
    let delta = of_default.next().await;
    assert_eq!((delta.upserted.len(), delta.removed.len()), (0, 1));
    assert_eq!(delta.removed[0].mesh, "default", "the mesh that the watcher knows");
    let delta = of_other.next().await;
    assert_eq!((delta.upserted.len(), delta.removed.len()), (1, 0));
    assert_eq!(delta.upserted[0].mesh, "other");
    still_serves(&server).await;
}

/// The snapshot exceeds one message; it is complete at the message with `synced`.
#[tokio::test]
async fn a_large_snapshot_is_sent_in_parts() {
    let server = Server::start().await;
    let mut sessions = Vec::new();
    for n in 0..2_500 {
        let spec = DataplaneSpec {
            mesh: "default".into(),
            name: format!("p{n}"),
            labels: dataplane("", &format!("w{n}")).labels,
            ..DataplaneSpec::default()
        };
        let options = ConnectOptions::new(Duration::MAX);
        let parsed = Dataplane::parse(&spec, DataplaneLimits::default());
        sessions.push(server.app.registry().connect(parsed.unwrap(), options).await.unwrap());
    }
    let mut watch = Watcher::open(server.workloads(), WorkloadFilter::default(), "").await;
    let first = watch.next().await;
    assert!(first.reset && !first.synced && first.resume_token.is_empty());
    let last = loop {
        let part = watch.next().await;
        assert!(!part.reset && part.upserted.len() <= 64, "small parts of one snapshot");
        if part.synced {
            break part;
        }
    };
    assert_eq!((last.revision, watch.state.len()), (2_500, 2_500));
}

#[tokio::test]
async fn a_hundred_watchers_all_converge_to_the_list() {
    let server = Server::start().await;
    let mut watchers = Vec::new();
    let mut proxies = Vec::new();
    for n in 0..20 {
        for _ in 0..5 {
            watchers.push(server.watch().await);
        }
        let workload = format!("w{}", n % 7);
        proxies.push(server.proxy(dataplane(&format!("p{n}"), &workload)).await);
    }
    for round in 0..3 {
        for (n, proxy) in proxies.iter_mut().enumerate() {
            match (n + round) % 3 {
                0 => proxy.not_ready().await,
                _ => proxy.ready().await,
            }
        }
        drop(proxies.pop());
        proxies.remove(0).goodbye().await;
    }
    server.wait_for_metric("headcount_sessions_opened_total", 20).await;
    server.wait_for_metric(r#"headcount_sessions_ended_total{reason="lost"}"#, 3).await;
    let list = server.list().await;
    for watcher in &mut watchers {
        watcher.read_until_revision(list.revision).await;
        assert_eq!(watcher.workloads(), list.workloads);
    }
}

#[tokio::test]
async fn a_watch_without_changes_receives_bookmarks() {
    let server = Server::with(|config| {
        config.registry.bookmark_interval = Duration::from_millis(50);
    })
    .await;
    let _web = server.proxy(dataplane("a", "web")).await;
    let mut watch = server.watch().await;
    for _ in 0..3 {
        let bookmark = watch.next().await;
        assert!(bookmark.synced && !bookmark.reset && bookmark.upserted.is_empty());
        assert_eq!(bookmark.revision, 1);
    }
}
