//! `WaitForWorkload`, which deploy tools call.

use headcount::proto::{WaitForWorkloadRequest, WaitForWorkloadResponse};
use tonic::{Code, Status};

use crate::support::{Server, assert_status, counts_of, dataplane, in_time, still_serves};

fn request(minimum_connected: u32, minimum_healthy: u32) -> WaitForWorkloadRequest {
    WaitForWorkloadRequest {
        name: "web".into(),
        minimum_connected,
        minimum_healthy,
        ..WaitForWorkloadRequest::default()
    }
}

fn with_timeout_millis(request: WaitForWorkloadRequest, millis: i32) -> WaitForWorkloadRequest {
    let timeout = prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 };
    WaitForWorkloadRequest { timeout: Some(timeout), ..request }
}

async fn wait(server: &Server, request: WaitForWorkloadRequest) -> Result<WaitForWorkloadResponse, Status> {
    let response = in_time("a response", server.workloads().wait_for_workload(request)).await;
    response.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_condition_that_holds_is_answered_at_once() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    let response = wait(&server, request(1, 1)).await.unwrap();
    assert_eq!(counts_of(&response.workload.unwrap()), (1, 1, 1));
    assert_eq!(response.revision, server.list().await.revision);
    // Even with a timeout of zero.
    wait(&server, with_timeout_millis(request(1, 0), 0)).await.unwrap();
}

#[tokio::test]
async fn the_response_is_sent_when_the_condition_becomes_true() {
    let server = Server::start().await;
    let waiting = tokio::spawn({
        let mut client = server.workloads();
        async move { client.wait_for_workload(request(2, 1)).await }
    });
    server.wait_for_metric("headcount_watchers", 1).await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    a.ready().await;
    // Neither a Workload of this name in another namespace nor an unhealthy proxy fulfils it.
    let mut elsewhere = dataplane("b", "web");
    elsewhere.namespace = "shop".into();
    let _elsewhere = server.proxy(elsewhere).await;
    a.not_ready().await;
    let _b = server.proxy(dataplane("b", "web")).await;
    assert!(!waiting.is_finished());
    a.ready().await;
    let response = in_time("the response", waiting).await.unwrap().unwrap().into_inner();
    assert_eq!(counts_of(&response.workload.unwrap()), (2, 1, 2));
    server.wait_for_metric("headcount_watchers", 0).await;
}

#[tokio::test]
async fn a_timeout_states_the_last_counts() {
    let server = Server::start().await;
    let status = wait(&server, with_timeout_millis(request(0, 3), 50)).await.unwrap_err();
    let parts = ["workload default/web", "wanted 3 healthy", "has 0 connected, 0 healthy, 0 total"];
    assert_status(&status, Code::DeadlineExceeded, &parts);

    let mut a = server.proxy(dataplane("a", "web")).await;
    a.ready().await;
    let _b = server.proxy(dataplane("b", "web")).await;
    let status = wait(&server, with_timeout_millis(request(2, 2), 50)).await.unwrap_err();
    assert_status(
        &status,
        Code::DeadlineExceeded,
        &["wanted 2 connected and 2 healthy", "has 2 connected, 1 healthy, 2 total"],
    );
    let status = wait(&server, with_timeout_millis(request(3, 0), 0)).await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, &["has 2 connected"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_workload_of_another_mesh_does_not_count() {
    let server = Server::start().await;
    let _a = server.proxy(dataplane("a", "web")).await;
    let of_mesh =
        |mesh: &str| WaitForWorkloadRequest { mesh: mesh.into(), ..with_timeout_millis(request(1, 0), 50) };
    wait(&server, of_mesh("default")).await.unwrap();
    let status = wait(&server, of_mesh("other")).await.unwrap_err();
    assert_status(&status, Code::DeadlineExceeded, &["has 0 connected"]);
}

#[tokio::test]
async fn invalid_requests_are_rejected() {
    let server = Server::start().await;
    let with_seconds = |seconds| WaitForWorkloadRequest {
        timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..request(1, 0)
    };
    let named = |name: &str| WaitForWorkloadRequest { name: name.into(), ..request(1, 0) };
    let of_mesh = WaitForWorkloadRequest { mesh: "M".into(), ..request(1, 0) };
    for (request, parts) in [
        (request(0, 0), ["minimum_healthy: ", "set it or minimum_connected"]),
        (named(""), ["name: ", "is required"]),
        (named("Web"), ["name: ", "DNS-1123"]),
        (of_mesh, ["mesh: ", "DNS-1123"]),
        (with_seconds(-1), ["timeout: ", "must be between"]),
        (with_seconds(3601), ["timeout: ", "3600s"]),
        (with_seconds(i64::MAX), ["timeout: ", "must be between"]),
    ] {
        let status = wait(&server, request).await.unwrap_err();
        assert_status(&status, Code::InvalidArgument, &parts);
    }
    still_serves(&server).await;
}
