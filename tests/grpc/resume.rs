//! Watches that resume after a disconnect, with the token of the last message.

use headcount::proto::WorkloadFilter;

use crate::{
    support::{Server, dataplane},
    watcher::Watcher,
};

#[tokio::test]
async fn a_resumed_watch_delivers_only_the_missed_changes() {
    let server = Server::start().await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let api = server.proxy(dataplane("b", "api")).await;
    let _unchanged = server.proxy(dataplane("c", "unchanged")).await;
    let before = server.watch().await;
    let (state, token) = (before.state, before.token);
    drop(before.stream);

    web.ready().await;
    web.not_ready().await;
    web.ready().await;
    api.goodbye().await;
    let _new = server.proxy(dataplane("d", "new")).await;

    let mut back = Watcher::open(server.workloads(), WorkloadFilter::default(), &token).await;
    back.state = state;
    let missed = back.next().await;
    assert!(!missed.reset && missed.synced);
    let mut upserted: Vec<_> = missed.upserted.iter().map(|w| w.name.as_str()).collect();
    upserted.sort_unstable();
    assert_eq!(upserted, ["new", "web"], "each once, with its latest state");
    assert_eq!((missed.removed.len(), &*missed.removed[0].name), (1, "api"));
    assert_eq!(back.workloads(), server.list().await.workloads);
}

#[tokio::test]
async fn a_resumed_watch_without_missed_changes_is_in_sync_at_once() {
    let server = Server::start().await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let token = server.watch().await.token;
    let mut back = Watcher::open(server.workloads(), WorkloadFilter::default(), &token).await;
    let first = back.next().await;
    assert!(first.synced && !first.reset && first.upserted.is_empty());
    assert_eq!(first.resume_token, token);
    web.ready().await;
    assert_eq!(back.next().await.upserted.len(), 1);
}

/// A Workload that was created and deleted in between is not mentioned. One that the watcher knew and
/// that was created again is sent with its new uid.
#[tokio::test]
async fn a_workload_recreated_while_disconnected_is_delivered_once() {
    let server = Server::start().await;
    let web = server.proxy(dataplane("a", "web")).await;
    let before = server.watch().await;
    web.goodbye().await;
    server.proxy(dataplane("b", "short-lived")).await.goodbye().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    let mut back = Watcher::open(server.workloads(), WorkloadFilter::default(), &before.token).await;
    back.state.clone_from(&before.state);
    let missed = back.next().await;
    assert_eq!((missed.upserted.len(), missed.removed.len()), (1, 0));
    assert_eq!(back.workloads(), server.list().await.workloads);
    assert_ne!(back.workloads(), before.workloads(), "a recreated Workload has a new uid");
}

#[tokio::test]
async fn a_token_from_before_a_restart_gets_a_reset() {
    let first = Server::start().await;
    let mut web = first.proxy(dataplane("a", "web")).await;
    web.ready().await;
    let before = first.watch().await;
    drop(first);

    let second = Server::start().await;
    let _web = second.proxy(dataplane("a", "web")).await;
    let mut back = Watcher::open(second.workloads(), WorkloadFilter::default(), &before.token).await;
    back.state = before.state;
    let fresh = back.next().await;
    assert!(fresh.reset && fresh.synced);
    assert_eq!(back.counts("web"), (1, 0, 1));
    assert_ne!(back.token, before.token);
}
