//! Watchers that are gone give their places back.

use crate::{
    IMMEDIATE,
    fixture::{Fixture, with_each_balancer},
    support::Signal,
};
use std::time::Instant;

#[tokio::test]
async fn a_killed_watcher_gives_its_place_back_at_once() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let watcher = fixture.client("get workloads -w");
        fixture.server.wait_for_watchers(1).await;
        let start = Instant::now();
        watcher.signal(Signal::KILL);
        fixture.server.wait_for_watchers(0).await;
        fixture.print_time("a watcher is killed", start, IMMEDIATE);
    })
    .await;
}
