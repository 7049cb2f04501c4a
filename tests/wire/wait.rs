//! `WaitForWorkload`: the deploy tool's question.

use headcount::proto::{WaitForWorkloadRequest, WaitForWorkloadResponse};
use tonic::{Code, Status};

use crate::support::{Server, assert_says, counts_of, dataplane, soon, still_serves};

fn ask(minimum_connected: u32, minimum_healthy: u32) -> WaitForWorkloadRequest {
    WaitForWorkloadRequest {
        name: "web".into(),
        minimum_connected,
        minimum_healthy,
        ..WaitForWorkloadRequest::default()
    }
}

fn millis(request: WaitForWorkloadRequest, millis: i32) -> WaitForWorkloadRequest {
    let timeout = prost_types::Duration {
        seconds: 0,
        nanos: millis * 1_000_000,
    };
    WaitForWorkloadRequest {
        timeout: Some(timeout),
        ..request
    }
}

async fn wait(server: &Server, request: WaitForWorkloadRequest) -> Result<WaitForWorkloadResponse, Status> {
    let answer = soon("an answer", server.workloads().wait_for_workload(request)).await;
    answer.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn what_is_true_is_answered_at_once() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    let answer = wait(&server, ask(1, 1)).await.unwrap();
    assert_eq!(counts_of(&answer.workload.unwrap()), (1, 1, 1));
    assert_eq!(answer.revision, server.list().await.revision);
    // Even with no time to wait.
    wait(&server, millis(ask(1, 0), 0)).await.unwrap();
}

#[tokio::test]
async fn the_answer_comes_when_it_becomes_true() {
    let server = Server::start().await;
    let waiting = tokio::spawn({
        let mut client = server.workloads();
        async move { client.wait_for_workload(ask(2, 1)).await }
    });
    server.until_metric("headcount_watchers", 1).await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    a.ready().await;
    // A client of the same name in another namespace, or not healthy, is no answer.
    let mut elsewhere = dataplane("b", "web");
    elsewhere.namespace = "shop".into();
    let _elsewhere = server.proxy(elsewhere).await;
    a.not_ready().await;
    let _b = server.proxy(dataplane("b", "web")).await;
    assert!(!waiting.is_finished());
    a.ready().await;
    let answer = soon("the answer", waiting).await.unwrap().unwrap().into_inner();
    assert_eq!(counts_of(&answer.workload.unwrap()), (2, 1, 2));
    server.until_metric("headcount_watchers", 0).await;
}

#[tokio::test]
async fn a_timeout_names_the_numbers_last_seen() {
    let server = Server::start().await;
    let status = wait(&server, millis(ask(0, 3), 50)).await.unwrap_err();
    let words = [
        "workload default/web",
        "wanted connected 0, healthy 3",
        "has connected 0, healthy 0, total 0",
    ];
    assert_says(&status, Code::DeadlineExceeded, &words);

    let mut a = server.proxy(dataplane("a", "web")).await;
    a.ready().await;
    let _b = server.proxy(dataplane("b", "web")).await;
    let status = wait(&server, millis(ask(2, 2), 50)).await.unwrap_err();
    assert_says(
        &status,
        Code::DeadlineExceeded,
        &[
            "wanted connected 2, healthy 2",
            "has connected 2, healthy 1, total 2",
        ],
    );
    let status = wait(&server, millis(ask(3, 0), 0)).await.unwrap_err();
    assert_says(&status, Code::DeadlineExceeded, &["has connected 2"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn only_a_workload_of_the_mesh_asked_for_counts() {
    let server = Server::start().await;
    let _a = server.proxy(dataplane("a", "web")).await;
    let of_mesh = |mesh: &str| WaitForWorkloadRequest {
        mesh: mesh.into(),
        ..millis(ask(1, 0), 50)
    };
    wait(&server, of_mesh("default")).await.unwrap();
    let status = wait(&server, of_mesh("other")).await.unwrap_err();
    assert_says(&status, Code::DeadlineExceeded, &["has connected 0"]);
}

#[tokio::test]
async fn bad_questions_are_refused() {
    let server = Server::start().await;
    let with_seconds = |seconds| WaitForWorkloadRequest {
        timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..ask(1, 0)
    };
    let named = |name: &str| WaitForWorkloadRequest {
        name: name.into(),
        ..ask(1, 0)
    };
    let of_mesh = WaitForWorkloadRequest {
        mesh: "M".into(),
        ..ask(1, 0)
    };
    for (request, words) in [
        (ask(0, 0), ["minimum_healthy: ", "set it or minimum_connected"]),
        (named(""), ["name: ", "is required"]),
        (named("Web"), ["name: ", "DNS-1123"]),
        (of_mesh, ["mesh: ", "DNS-1123"]),
        (with_seconds(-1), ["timeout: ", "must be between"]),
        (with_seconds(3601), ["timeout: ", "3600s"]),
        (with_seconds(i64::MAX), ["timeout: ", "must be between"]),
    ] {
        let status = wait(&server, request).await.unwrap_err();
        assert_says(&status, Code::InvalidArgument, &words);
    }
    still_serves(&server).await;
}
