//! The server goes and comes back; nobody helps the Envoys.

use std::time::{Duration, Instant};

use crate::{
    stage::{Stage, WORKLOAD, never_falls},
    support::Signal,
};

#[tokio::test]
async fn envoys_come_back_to_a_server_that_is_back_and_none_looks_ill() {
    let Some(mut stage) = Stage::set("--drain-timeout 5s").await else { return };
    let (proxies, _) = stage.three().await;
    for signal in [Signal::KILL, Signal::TERM] {
        let ended = stage.server.restart(signal).await;
        if signal == Signal::TERM {
            let ended = ended.expect_exit(0);
            assert!(ended.after < Duration::from_secs(3), "Envoys hold up no drain: {:?}", ended.after);
        }
        let start = Instant::now();
        let mut watch = stage.server.watch(WORKLOAD).await;
        watch.until(Some([3, 3, 3])).await;
        let after = start.elapsed();
        println!("a server that is ended by {signal:?} and back: right after {after:.1?}");
        assert!(after < Duration::from_secs(5), "{signal:?}: {after:?}");
        never_falls(&watch);
        stage.agrees([3, 3, 3]).await;
    }
    drop(proxies);
}
