//! The right things in the wrong order, or never.

use std::time::Duration;

use headcount::proto::{Goodbye, HealthState, SessionRequest, session_request::Message as Said};
use tonic::Code;

use crate::{
    proxy::{Line, health, hello},
    support::{Server, assert_says, dataplane, still_serves},
};

#[tokio::test]
async fn the_first_message_must_be_a_hello() {
    let server = Server::start().await;
    for (said, word) in [
        (health(1, HealthState::Ready), "health: came before hello"),
        (Said::Goodbye(Goodbye {}), "goodbye: came before hello"),
    ] {
        let mut line = Line::open(server.connect().await).await;
        line.say(said);
        let words = [word, "must be the first message"];
        assert_says(&line.end().await, Code::FailedPrecondition, &words);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn an_empty_message_is_refused_before_the_hello_and_after_it() {
    let server = Server::start().await;
    let words = ["message: is required", "set hello, health or goodbye"];
    let mut line = Line::open(server.connect().await).await;
    line.say.send(SessionRequest { message: None }).unwrap();
    assert_says(&line.end().await, Code::InvalidArgument, &words);
    still_serves(&server).await;

    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.line.say.send(SessionRequest { message: None }).unwrap();
    assert_says(&proxy.line.end().await, Code::InvalidArgument, &words);
    server.until_counts("web", (0, 0, 1)).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn silence_instead_of_a_hello_ends_the_stream() {
    let server = Server::with(|config| config.limits.hello_timeout = Duration::from_millis(500)).await;
    let mut line = Line::open(server.connect().await).await;
    let words = ["no hello within 500ms", "it must be the first message"];
    assert_says(&line.end().await, Code::DeadlineExceeded, &words);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_second_hello_ends_the_session() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    proxy.line.say(hello(dataplane("a", "api")));
    let words = ["hello: was sent already", "open a new stream"];
    assert_says(&proxy.line.end().await, Code::FailedPrecondition, &words);
    server.until_counts("web", (0, 0, 1)).await;
    assert_eq!(server.counts("api").await, (0, 0, 0));
    still_serves(&server).await;
}

#[tokio::test]
async fn nothing_counts_that_is_said_after_a_goodbye() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.line.say(Said::Goodbye(Goodbye {}));
    proxy.line.say(health(1, HealthState::Ready));
    assert_eq!(proxy.line.end().await.code(), Code::Ok);
    assert_eq!(server.counts("web").await, (0, 0, 0));
    still_serves(&server).await;
}
