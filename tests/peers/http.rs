//! Probes and metrics over HTTP.

use crate::support::{Server, Signal, get, retry};

use headcount::proto::{WatchWorkloadsRequest, workload_service_client::WorkloadServiceClient};

#[tokio::test]
async fn a_server_is_live_and_ready_and_exports_metrics() {
    let server = Server::start("").await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(get(server.http, path).await, Some((200, "ok\n".to_owned())));
    }
    let (status, metrics) = get(server.http, "/metrics").await.unwrap();
    assert_eq!(status, 200);
    assert!(metrics.contains("headcount_build_info{version="), "{metrics}");
    assert_eq!(get(server.http, "/nowhere").await.unwrap().0, 404);
}

/// During a drain the server accepts no gRPC connection, and it is live but not ready.
#[tokio::test]
async fn a_draining_server_is_live_but_not_ready() {
    let server = Server::start("--drain-timeout 1m").await;
    let small_window = server.endpoint().initial_stream_window_size(1).connect().await.unwrap();
    // This watch never reads, so it delays the drain.
    let _stuck =
        WorkloadServiceClient::new(small_window).watch_workloads(WatchWorkloadsRequest::default()).await;
    server.program.signal(Signal::TERM);
    server.program.wait_for_stderr("draining").await;
    assert_eq!(get(server.http, "/readyz").await.unwrap().0, 503);
    assert_eq!(get(server.http, "/livez").await, Some((200, "ok\n".to_owned())));
    retry("gRPC is closed", async || server.endpoint().connect().await.is_err().then_some(())).await;
    server.program.signal(Signal::TERM);
    server.program.end().await.expect_exit(0);
}
