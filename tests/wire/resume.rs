//! Coming back after a disconnect, with the token of the last message.

use headcount::proto::WorkloadFilter;

use crate::{
    fold::Fold,
    support::{Server, dataplane},
};

#[tokio::test]
async fn a_watcher_that_comes_back_hears_just_what_it_missed() {
    let server = Server::start().await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let api = server.proxy(dataplane("b", "api")).await;
    let _still = server.proxy(dataplane("c", "still")).await;
    let before = server.watch().await;
    let (state, token) = (before.state, before.token);
    drop(before.stream);

    web.ready().await;
    web.not_ready().await;
    web.ready().await;
    api.goodbye().await;
    let _new = server.proxy(dataplane("d", "new")).await;

    let mut back = Fold::open(server.workloads(), WorkloadFilter::default(), &token).await;
    back.state = state;
    let missed = back.next().await;
    assert!(!missed.reset && missed.synced);
    let mut upserted: Vec<_> = missed.upserted.iter().map(|w| w.name.as_str()).collect();
    upserted.sort_unstable();
    assert_eq!(upserted, ["new", "web"], "each once, in its newest state");
    assert_eq!((missed.removed.len(), &*missed.removed[0].name), (1, "api"));
    assert_eq!(back.workloads(), server.list().await.workloads);
}

#[tokio::test]
async fn who_missed_nothing_hears_that() {
    let server = Server::start().await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    let token = server.watch().await.token;
    let mut back = Fold::open(server.workloads(), WorkloadFilter::default(), &token).await;
    let greeting = back.next().await;
    assert!(greeting.synced && !greeting.reset && greeting.upserted.is_empty());
    assert_eq!(greeting.resume_token, token);
    web.ready().await;
    assert_eq!(back.next().await.upserted.len(), 1);
}

/// What came and went in between, and was never known, is not mentioned... but
/// what was known and came back as another is.
#[tokio::test]
async fn lives_that_were_missed_end_in_the_newest_state() {
    let server = Server::start().await;
    let web = server.proxy(dataplane("a", "web")).await;
    let before = server.watch().await;
    web.goodbye().await;
    server.proxy(dataplane("b", "brief")).await.goodbye().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    let mut back = Fold::open(server.workloads(), WorkloadFilter::default(), &before.token).await;
    back.state.clone_from(&before.state);
    let missed = back.next().await;
    assert_eq!((missed.upserted.len(), missed.removed.len()), (1, 0));
    assert_eq!(back.workloads(), server.list().await.workloads);
    assert_ne!(back.workloads(), before.workloads(), "another life has another uid");
}

#[tokio::test]
async fn after_a_restart_an_old_token_is_answered_with_a_reset() {
    let first = Server::start().await;
    let mut web = first.proxy(dataplane("a", "web")).await;
    web.ready().await;
    let before = first.watch().await;
    drop(first);

    let second = Server::start().await;
    let _web = second.proxy(dataplane("a", "web")).await;
    let mut back = Fold::open(second.workloads(), WorkloadFilter::default(), &before.token).await;
    back.state = before.state;
    let fresh = back.next().await;
    assert!(fresh.reset && fresh.synced);
    assert_eq!(back.counts("web"), (1, 0, 1));
    assert_ne!(back.token, before.token);
}
