//! Requests that are not gRPC's, or have the wrong number of messages.

use std::time::Duration;

use bytes::Bytes;
use headcount::proto::GetWorkloadRequest;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::{Code, body::Body, client::GrpcService as _};

use crate::{
    raw::{framed, open_stream},
    support::{Server, assert_status, dataplane, in_time, still_serves},
};

const GET: &str = "/headcount.v1.WorkloadService/GetWorkload";
const WATCH: &str = "/headcount.v1.WorkloadService/WatchWorkloads";
const SESSION: &str = "/headcount.v1.DataplaneService/Session";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// A response that has no body.
struct Answer {
    http: u16,
    headers: http::HeaderMap,
}

impl Answer {
    #[track_caller]
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers)).to_str().unwrap()
    }

    #[track_caller]
    fn code(&self) -> Code {
        Code::from_bytes(self.header("grpc-status").as_bytes())
    }
}

async fn send(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = http::Request::builder().method(method).uri(path).header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Full::new(Bytes::from(body)))).unwrap();
    let mut channel = server.channel();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    let response = in_time(path, channel.call(request)).await.unwrap();
    let (http, mut headers) = (response.status().as_u16(), response.headers().clone());
    if headers.contains_key("grpc-status") || http != 200 {
        let body = in_time(path, response.into_body().collect()).await.unwrap();
        assert!(body.trailers().is_none());
    } else if let Ok(Ok(body)) =
        tokio::time::timeout(Duration::from_secs(1), response.into_body().collect()).await
    {
        headers.extend(body.trailers().cloned().unwrap_or_default());
    }
    Answer { http, headers }
}

fn get_web() -> Vec<u8> {
    framed(&GetWorkloadRequest { name: "web".into(), ..GetWorkloadRequest::default() }.encode_to_vec())
}

#[tokio::test]
async fn other_content_types_are_rejected_with_415() {
    let server = Server::start().await;
    let _proxy = server.proxy(dataplane("a", "web")).await;
    for path in [GET, WATCH, SESSION, HEALTH, "/unknown"] {
        for other in ["application/json", "application/grpc-web", "application/grpcx", "text/plain", ""] {
            let answer = send(&server, "POST", path, &[("content-type", other)], get_web()).await;
            assert_eq!((answer.http, answer.code()), (415, Code::InvalidArgument), "{path} {other}");
        }
        let answer = send(&server, "POST", path, &[], get_web()).await;
        assert_eq!(answer.http, 415, "{path}");
    }
    for grpc in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
        let answer = send(&server, "POST", GET, &[("content-type", grpc)], get_web()).await;
        assert_eq!((answer.http, answer.code()), (200, Code::Ok), "{grpc}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn other_methods_than_post_are_rejected_with_405() {
    let server = Server::start().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"] {
        for path in [GET, SESSION, "/"] {
            let answer = send(&server, method, path, &[("content-type", "application/grpc")], vec![]).await;
            assert_eq!((answer.http, answer.code()), (405, Code::Internal), "{method} {path}");
            assert_eq!(answer.header("allow"), "POST");
        }
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_method_that_takes_one_message_takes_exactly_one() {
    let server = Server::start().await;
    let _proxy = server.proxy(dataplane("a", "web")).await;
    let grpc = [("content-type", "application/grpc")];
    for path in [GET, WATCH, HEALTH] {
        let two = [framed(&[]), framed(&[])].concat();
        for body in [vec![], two, [framed(&[]), vec![0]].concat()] {
            let answer = send(&server, "POST", path, &grpc, body.clone()).await;
            assert_eq!((answer.http, answer.code()), (200, Code::Unimplemented), "{path} {body:?}");
            assert!(answer.header("grpc-message").contains("exactly%20one"), "{:?}", answer.headers);
        }
    }
    let metrics = server.scrape().await;
    let series = r#"grpc_server_handled_total{grpc_code="Unimplemented",grpc_method="GetWorkload",grpc_service="headcount.v1.WorkloadService",grpc_type="unary"}"#;
    assert_eq!(metrics.value(series), Some(3), "{}", metrics.0);
    still_serves(&server).await;
}

/// Such a call would otherwise hold its connection for ever.
#[tokio::test]
async fn a_request_that_does_not_end_is_rejected_after_the_hello_timeout() {
    let server = Server::with(|config| config.limits.hello_timeout = Duration::from_millis(200)).await;
    for path in [GET, HEALTH] {
        let stream = open_stream(server.connect().await, path, &[]).await;
        assert_status(&stream.end().await, Code::DeadlineExceeded, &["did not arrive within 200ms"]);
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_compressed_request_is_rejected_with_the_encodings_that_are_accepted() {
    let server = Server::start().await;
    for path in [GET, WATCH, SESSION, HEALTH] {
        for encoding in ["gzip", "zstd", "br"] {
            let headers = [("content-type", "application/grpc"), ("grpc-encoding", encoding)];
            let compressed = [&[1, 0, 0, 0, 2], &b"\x1f\x8b"[..]].concat();
            let answer = send(&server, "POST", path, &headers, compressed).await;
            assert_eq!((answer.http, answer.code()), (200, Code::Unimplemented), "{path} {encoding}");
            assert_eq!(answer.header("grpc-accept-encoding"), "identity", "{path} {encoding}");
        }
    }
    still_serves(&server).await;
}
