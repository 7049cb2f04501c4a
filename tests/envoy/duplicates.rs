//! Two Envoys of one identity: a hot restart, and two by mistake. An Envoy whose session was taken over
//! returns within a second, as long as it lives.

use std::time::Duration;

use crate::{
    application::Application,
    fixture::{Fixture, IMMEDIATE, WORKLOAD, assert_never_above},
    support::{Program, Server, Watch, get, retry},
};

/// Waits until the event of this reason about `web-1` has happened this often, and returns its line.
async fn wait_for_event(server: &Server, least: u64) -> String {
    retry(&format!("DuplicateIdentity, {least} times"), async || {
        let table = server.run("get events").await.expect_exit(0).out;
        let line = table.lines().find(|line| line.contains("DuplicateIdentity"))?;
        let count: u64 = line.split_whitespace().nth(5)?.parse().expect("a count");
        (count >= least).then(|| line.to_owned())
    })
    .await
}

/// How often a count of connected or healthy proxies fell.
fn falls(watch: &Watch) -> usize {
    let seen: Vec<_> = watch.seen().iter().map(|counts| counts.unwrap_or_default()).collect();
    seen.windows(2).filter(|pair| pair[1][0] < pair[0][0] || pair[1][1] < pair[0][1]).count()
}

/// Two Envoys live for as long as it takes to report the conflict twice, which is more than 10 s. Returns
/// an agent of the same workload, whose start is the next visible change.
async fn expect_one_change(fixture: &Fixture, application: &Application, watch: &mut Watch) -> Program {
    let line = wait_for_event(&fixture.server, 2).await;
    assert!(line.contains("dataplane/web-1") && line.contains("is held off"), "{line}");
    let agent = fixture.server.agent("web-2", &Fixture::dataplane("web-2", application));
    watch.until(Some([2, 2, 2])).await;
    fixture.assert_list_and_metrics([2, 2, 2]).await;
    assert_eq!(falls(watch), 1, "the takeover: {:?}", watch.seen());
    let (_, metrics) = get(fixture.server.http, "/metrics").await.expect("a response");
    let held_off = metrics.lines().find_map(|line| line.strip_prefix("headcount_sessions_held_off_total "));
    assert!(held_off.is_some_and(|count| count != "0"), "{held_off:?}");
    agent
}

#[tokio::test]
async fn two_envoys_of_one_id_change_the_counts_once() {
    let Some(fixture) = Fixture::start("").await else { return };
    let application = Application::start(&fixture.server.site).await;
    let file = Fixture::dataplane("web-1", &application);
    let mut watch = fixture.server.watch(WORKLOAD).await;
    let first = fixture.envoy("first", &file).await;
    watch.until(Some([1, 1, 1])).await;
    let second = fixture.envoy("second", &file).await;
    let _agent = expect_one_change(&fixture, &application, &mut watch).await;

    // The one that is held off connects soon after the other one has ended.
    second.kill();
    fixture.expect_counts("the second Envoy is killed", &mut watch, [1, 1, 2], IMMEDIATE).await;
    watch.until(Some([2, 2, 2])).await;
    drop(first);
    assert_never_above(&watch, 2);
}

#[tokio::test]
async fn a_hot_restart_changes_the_counts_once() {
    let Some(fixture) = Fixture::start("").await else { return };
    let application = Application::start(&fixture.server.site).await;
    let file = Fixture::dataplane("web-1", &application);
    let mut watch = fixture.server.watch(WORKLOAD).await;
    let parent = fixture.hot_restartable_envoy("web-1", &file).await;
    watch.until(Some([1, 1, 1])).await;
    // The parent lives for some time beside its child, and then ends.
    let child = parent.hot_restart(Duration::from_secs(20)).await;
    let _agent = expect_one_change(&fixture, &application, &mut watch).await;
    let ended = parent.end().await;
    println!("the parent ended after {:?}", ended.after);
    child.wait_for_counter("hds_delegate.requests", 1).await;
    assert!(child.admin.is_ready().await);

    // The next visible change is the end of the child: the end of the parent changed nothing.
    let before = watch.seen().len();
    child.kill();
    watch.until(Some([1, 1, 2])).await;
    assert_eq!(watch.seen()[before..], [Some([1, 1, 2])]);
    assert_never_above(&watch, 2);
}
