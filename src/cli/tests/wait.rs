//! `headcount wait` against a scripted server.

use std::sync::Arc;

use tonic::Status;

use super::{Outcome, run, run_with, samples::workload, scripted_server::ScriptedServer};
use crate::proto::WaitForWorkloadResponse;

#[tokio::test]
async fn a_wait_prints_the_counts() {
    let server = Arc::new(ScriptedServer::default());
    server.wait.push(Err(Status::unavailable("restarting")));
    server.wait.push(Ok(WaitForWorkloadResponse { workload: Some(workload("web", 3)), revision: 1 }));
    let ended = run_with(&server, "wait workload web --healthy 3").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert_eq!(ended.out, "workload default/web: 3 connected, 3 healthy, 3 total\n");
    assert_eq!(ended.err, "connection lost (restarting); trying again\n");
    assert_eq!(server.wait.requests()[1].minimum_healthy, 3);

    server.wait.push(Err(Status::deadline_exceeded("1 connected, 0 healthy, 2 total")));
    let ended = run_with(&server, "wait workload web --connected 3 --timeout 0s").await;
    assert_eq!(ended.result.unwrap(), Outcome::Negative);
    assert_eq!(ended.err, "timed out after 0s: 1 connected, 0 healthy, 2 total\n");
}

#[tokio::test]
async fn a_timeout_of_a_proxy_is_retried() {
    let server = Arc::new(ScriptedServer::default());
    server.wait.push(Err(Status::deadline_exceeded("upstream timeout")));
    server.wait.push(Ok(WaitForWorkloadResponse { workload: Some(workload("web", 3)), revision: 1 }));
    let ended = run_with(&server, "wait workload web --healthy 3 --timeout 2h").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert_eq!(ended.err, "connection lost (upstream timeout); trying again\n");
    let timeouts = server.wait.requests().into_iter().map(|request| request.timeout.unwrap().seconds);
    assert_eq!(timeouts.collect::<Vec<_>>(), [5, 5]);
}

#[tokio::test]
async fn a_wait_requires_a_condition() {
    let report = run("wait workload Web --timeout soon").await.failure();
    assert!(report.contains("3 problems"), "{report}");
    assert!(report.contains("set --healthy COUNT, --connected COUNT, or both"), "{report}");
}

#[tokio::test]
async fn a_timeout_of_more_than_a_year_is_rejected() {
    let report = run("wait workload web --healthy 1 --timeout 400000000000years").await.failure();
    assert!(report.contains("must be a year or less"), "{report}");
}
