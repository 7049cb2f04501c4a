//! Errors of the client commands.

use std::sync::Arc;

use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use tonic::Status;

use super::{Failure, run, run_with, scripted_server::ScriptedServer};

#[tokio::test]
async fn all_problems_of_a_command_are_reported_together() {
    let ended =
        run("get workloads web -A -o xml --request-timeout 10 --server ftp://x -l a=b=c --mesh M").await;
    let report = ended.failure();
    for problem in [
        "6 problems",
        "--all-namespaces: a name such as \"web\" requires one namespace",
        "--output: \"xml\": must be one of table, wide, json, yaml (for example table)",
        "--request-timeout: \"10\": time unit needed",
        "--server: \"ftp://x\": the scheme must be http",
        "--selector: \"a=b=c\":",
        "--mesh: \"M\": must be a valid DNS-1123 label",
    ] {
        assert!(report.contains(problem), "{problem}\n---\n{report}");
    }
}

#[tokio::test]
async fn a_name_and_a_selector_exclude_each_other() {
    let report = run("get workload web -l kuma.io/mesh=other").await.failure();
    assert!(report.contains("--selector: can't be combined with the name \"web\""), "{report}");
}

#[tokio::test]
async fn an_unreachable_server_is_explained() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ended = run(&format!("get workloads --server {address}")).await;
    assert!(matches!(ended.result, Err(Failure::Server(_))));
    let text = ended.failure();
    assert!(
        text.contains(&format!("cannot reach the server at http://{address}: connection refused")),
        "{text}"
    );
    assert!(text.contains("headcount serve --demo"), "{text}");
}

#[tokio::test]
async fn another_type_of_server_is_explained() {
    let server = Arc::new(ScriptedServer::default());
    let text = run_with(&server, "get workloads").await.failure();
    assert!(text.contains("does not support this request") && text.contains("check --server"), "{text}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _closed = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let text = run(&format!("get workloads --server {address}")).await.failure();
    assert!(text.contains("it must be the gRPC address of a headcount server"), "{text}");
}

#[tokio::test]
async fn an_invalid_argument_is_a_usage_error() {
    let server = Arc::new(ScriptedServer::default());
    server.list.push(Err(Status::invalid_argument("filter.mesh: \u{1b}")));
    let ended = run_with(&server, "get workloads").await;
    let Err(Failure::Usage(text)) = ended.result else { panic!("{}", ended.err) };
    assert_eq!(text, r"filter.mesh: \u{1b}");
}
