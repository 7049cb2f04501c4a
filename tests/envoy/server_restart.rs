//! Restarts of the server, after which Envoys reconnect by themselves.

use std::time::{Duration, Instant};

use crate::{
    fixture::{Fixture, WORKLOAD, assert_never_fell},
    support::Signal,
};

#[tokio::test]
async fn envoys_reconnect_to_a_restarted_server_and_never_look_unhealthy() {
    let Some(mut fixture) = Fixture::start("--drain-timeout 5s").await else { return };
    let (proxies, _) = fixture.three_proxies().await;
    for signal in [Signal::KILL, Signal::TERM] {
        let ended = fixture.server.restart(signal).await;
        if signal == Signal::TERM {
            let ended = ended.expect_exit(0);
            assert!(ended.after < Duration::from_secs(3), "Envoys do not delay a drain: {:?}", ended.after);
        }
        let start = Instant::now();
        let mut watch = fixture.server.watch(WORKLOAD).await;
        watch.until(Some([3, 3, 3])).await;
        let after = start.elapsed();
        println!("restart after {signal:?}: all counted after {after:.1?}");
        assert!(after < Duration::from_secs(5), "{signal:?}: {after:?}");
        assert_never_fell(&watch);
        fixture.assert_list_and_metrics([3, 3, 3]).await;
    }
    drop(proxies);
}

/// The server has a data directory: all Envoys stay registered, in the same Workload.
#[tokio::test]
async fn envoys_stay_registered_over_a_restart() {
    let Some(mut fixture) = Fixture::start_durable("--drain-timeout 5s").await else { return };
    let (proxies, watch) = fixture.three_proxies().await;
    let uid = watch.uid().to_owned();
    for signal in [Signal::KILL, Signal::TERM] {
        fixture.server.wait_until_stored().await;
        fixture.server.restart(signal).await;
        let mut watch = fixture.server.watch(WORKLOAD).await;
        watch.until(Some([3, 3, 3])).await;
        assert_never_fell(&watch);
        assert!(watch.seen().iter().all(|counts| counts.is_some_and(|[.., total]| total == 3)), "{watch:?}");
        assert_eq!(watch.uid(), uid);
        fixture.assert_list_and_metrics([3, 3, 3]).await;
    }
    drop(proxies);
}
