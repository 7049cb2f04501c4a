//! `headcount serve --demo`.

use std::time::Instant;

use crate::support::{Server, Signal};

#[tokio::test]
async fn the_demo_shows_three_workloads_within_five_seconds() {
    let start = Instant::now();
    let server = Server::start("--demo").await;
    for workload in ["web", "payments", "nightly-batch"] {
        server.run(&format!("wait workload {workload} --connected 1 --timeout 5s")).await.expect_exit(0);
    }
    let table = server.run("get workloads").await.expect_exit(0).out;
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    let names: Vec<_> = table.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["nightly-batch", "payments", "web"], "{table}");

    let insecure = |out: &str| out.contains("There is no TLS and no access control").then_some(());
    server.program.wait_for_stdout("that it is without security", insecure).await;

    server.program.signal(Signal::TERM);
    let ended = server.program.end().await.expect_exit(0);
    assert!(ended.after.as_secs() < 5, "{:?}", ended.after);
    assert!(ended.err.contains("drained") && !ended.err.contains("WARN"), "{ended}");
}
