//! Malformed requests: too large, no protobuf, or with wrong message framing. Every service rejects
//! them with `INVALID_ARGUMENT`.

use headcount::proto::{Goodbye, ListWorkloadsRequest, SessionRequest, session_request::Message as Request};
use prost::Message as _;
use tonic::Code;

use crate::{
    proxy::{SessionStream, hello},
    raw::{call, call_with_body, framed, open_stream},
    support::{Server, assert_status, dataplane, still_serves},
};

/// Methods of each service and of each kind.
const METHODS: [&str; 9] = [
    "/headcount.v1.DataplaneService/Session",
    "/headcount.v1.DataplaneService/ListDataplanes",
    "/headcount.v1.WorkloadService/GetWorkload",
    "/headcount.v1.WorkloadService/ListWorkloads",
    "/headcount.v1.WorkloadService/WatchWorkloads",
    "/headcount.v1.WorkloadService/WaitForWorkload",
    "/headcount.v1.EventService/WatchEvents",
    "/headcount.v1.BackupService/CreateBackup",
    "/grpc.health.v1.Health/Check",
];
/// tonic's reflection service ends the stream of a malformed request with `OK`.
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// A message with more than 64 KiB in field 1, which is a string or a message in all requests.
fn too_large() -> Vec<u8> {
    let text = "x".repeat(70_000);
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(text.len() as u64, &mut message);
    message.extend(text.as_bytes());
    message
}

#[tokio::test]
async fn a_message_that_is_too_large_is_rejected_by_every_method() {
    let server = Server::start().await;
    for method in METHODS {
        let status = call(server.channel(), method, too_large()).await;
        let parts = ["message: ", "too large", "70004 bytes", "the limit is: 65536 bytes"];
        assert_status(&status, Code::InvalidArgument, &parts);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn a_hello_that_is_too_large_is_rejected_and_not_counted() {
    let server = Server::start().await;
    let mut stream = SessionStream::open(server.connect().await).await;
    let mut large = dataplane("a", "web");
    large.address = "a".repeat(70_000);
    stream.send(hello(large));
    assert_status(&stream.end().await, Code::InvalidArgument, &["message: ", "65536 bytes"]);
    assert_eq!(server.counts("web").await, (0, 0, 0));
    still_serves(&server).await;
}

#[tokio::test]
async fn bytes_that_are_no_protobuf_are_rejected_by_every_method() {
    let server = Server::start().await;
    for method in METHODS {
        // Field 1 claims a length of five bytes; one follows.
        let status = call(server.channel(), method, &[0x0a, 0x05, 0x00][..]).await;
        assert_status(&status, Code::InvalidArgument, &["message: ", "rotobuf"]);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn reflection_ends_the_stream_of_a_malformed_request() {
    let server = Server::start().await;
    for message in [too_large(), vec![0x0a, 0x05, 0x00]] {
        let status = call(server.channel(), REFLECTION, message).await;
        assert_eq!(status.code(), Code::Ok, "{status:?}");
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn a_string_that_is_not_utf8_is_rejected() {
    let server = Server::start().await;
    let method = "/headcount.v1.WorkloadService/GetWorkload";
    let status = call(server.channel(), method, &[0x0a, 0x02, 0xff, 0xfe][..]).await;
    assert_status(&status, Code::InvalidArgument, &["name", "UTF-8"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_malformed_message_ends_an_open_session() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    for malformed in
        [framed(&too_large()), framed(&[0x12, 0x05, 0x00]), vec![1, 0, 0, 0, 0], vec![0, 255, 255, 255, 255]]
    {
        let message = Some(hello(dataplane("a", "web")));
        let hello = SessionRequest { message }.encode_to_vec();
        let stream = open_stream(server.connect().await, METHODS[0], &hello).await;
        watch.next().await;
        assert_eq!(watch.counts("web"), (1, 0, 1));
        stream.send(&malformed);
        assert_status(&stream.end().await, Code::InvalidArgument, &["message: "]);
        watch.next().await;
        assert_eq!(watch.counts("web"), (0, 0, 1));
        still_serves(&server).await;
        watch.read_until_revision(server.list().await.revision).await;
    }
    let refused = r#"headcount_sessions_ended_total{reason="refused"}"#;
    server.wait_for_metric(refused, 4).await;
}

/// A client may use a later version of the protocol.
#[tokio::test]
async fn unknown_fields_are_ignored() {
    let server = Server::start().await;
    let message = Some(hello(dataplane("a", "web")));
    let mut message = SessionRequest { message }.encode_to_vec();
    let field_1000_is_1 = [0xc0, 0x3e, 0x01];
    message.extend(field_1000_is_1);
    let method = "/headcount.v1.DataplaneService/Session";
    let status = call(server.channel(), method, message).await;
    assert_eq!(status.code(), Code::Ok, "half-closed after the hello: {status:?}");
    assert_eq!(server.counts("web").await, (0, 0, 1));
    still_serves(&server).await;
}

#[tokio::test]
async fn wrong_message_framing_is_rejected() {
    let server = Server::start().await;
    let valid = SessionRequest { message: Some(Request::Goodbye(Goodbye {})) };
    let valid = framed(&valid.encode_to_vec());
    for method in METHODS {
        for (what, body) in [
            ("the compressed flag is set", vec![1, 0, 0, 0, 0]),
            ("the flag is unknown", vec![7, 0, 0, 0, 0]),
            ("the message is truncated", vec![0, 0, 0, 0, 9, 1]),
            ("the prefix is truncated", valid[..3].to_vec()),
            ("the length is 4 GiB", vec![0, 255, 255, 255, 255, 1]),
        ] {
            let status = call_with_body(server.channel(), method, body).await;
            let expected = (method, what, Code::InvalidArgument);
            assert_eq!((method, what, status.code()), expected, "{status:?}");
        }
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn a_call_without_a_message_gets_a_status() {
    let server = Server::start().await;
    for method in METHODS {
        let status = call_with_body(server.channel(), method, vec![]).await;
        let expected = if method.ends_with("/Session") { Code::Ok } else { Code::Unimplemented };
        assert_eq!((method, status.code()), (method, expected), "{status:?}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn request_headers_that_are_too_large_are_rejected() {
    let server = Server::start().await;
    let mut request = tonic::Request::new(ListWorkloadsRequest::default());
    let long = "x".repeat(20_000).parse().unwrap();
    request.metadata_mut().insert("x-long", long);
    let listed = server.workloads().list_workloads(request).await;
    assert_ne!(listed.unwrap_err().code(), Code::Ok);
    still_serves(&server).await;
}
