//! Valid session messages in the wrong order, or missing.

use std::time::Duration;

use headcount::proto::{
    Goodbye, HealthState, Heartbeat, SessionRequest, session_request::Message as Request,
};
use tonic::Code;

use crate::{
    proxy::{SessionStream, health, hello},
    support::{Server, assert_status, dataplane, still_serves},
};

#[tokio::test]
async fn the_first_message_must_be_a_hello() {
    let server = Server::start().await;
    for (request, part) in [
        (health(1, HealthState::Ready), "health: came before hello"),
        (Request::Heartbeat(Heartbeat {}), "heartbeat: came before hello"),
        (Request::Goodbye(Goodbye {}), "goodbye: came before hello"),
    ] {
        let mut stream = SessionStream::open(server.connect().await).await;
        stream.send(request);
        let parts = [part, "must be the first message"];
        assert_status(&stream.end().await, Code::FailedPrecondition, &parts);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn an_empty_message_is_rejected_before_and_after_the_hello() {
    let server = Server::start().await;
    let parts = ["message: is required", "set hello, health, heartbeat or goodbye"];
    let mut stream = SessionStream::open(server.connect().await).await;
    stream.requests.send(SessionRequest { message: None }).unwrap();
    assert_status(&stream.end().await, Code::InvalidArgument, &parts);
    still_serves(&server).await;

    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.stream.requests.send(SessionRequest { message: None }).unwrap();
    assert_status(&proxy.stream.end().await, Code::InvalidArgument, &parts);
    server.wait_for_counts("web", (0, 0, 1)).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn a_proxy_that_sends_no_hello_is_rejected_with_deadline_exceeded() {
    let server = Server::with(|config| config.limits.hello_timeout = Duration::from_millis(500)).await;
    let mut stream = SessionStream::open(server.connect().await).await;
    let parts = ["no hello within 500ms", "it must be the first message"];
    assert_status(&stream.end().await, Code::DeadlineExceeded, &parts);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_second_hello_ends_the_session() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    proxy.stream.send(hello(dataplane("a", "api")));
    let parts = ["hello: was sent already", "open a new stream"];
    assert_status(&proxy.stream.end().await, Code::FailedPrecondition, &parts);
    server.wait_for_counts("web", (0, 0, 1)).await;
    assert_eq!(server.counts("api").await, (0, 0, 0));
    still_serves(&server).await;
}

#[tokio::test]
async fn messages_after_a_goodbye_are_ignored() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.stream.send(Request::Goodbye(Goodbye {}));
    proxy.stream.send(health(1, HealthState::Ready));
    assert_eq!(proxy.stream.end().await.code(), Code::Ok);
    assert_eq!(server.counts("web").await, (0, 0, 0));
    still_serves(&server).await;
}
