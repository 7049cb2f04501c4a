//! Requests that are no messages of ours: too long, no protobuf, or framed by a
//! liar. All are the client's doing, on every service: `INVALID_ARGUMENT`.

use headcount::proto::{Goodbye, ListWorkloadsRequest, SessionRequest, session_request::Message as Said};
use prost::Message as _;
use tonic::Code;

use crate::{
    proxy::{Line, hello},
    raw::{call, call_with_body, framed, open_stream},
    support::{Server, assert_says, dataplane, still_serves},
};

/// One method of each service and each kind.
const METHODS: [&str; 8] = [
    "/headcount.v1.DataplaneService/Session",
    "/headcount.v1.DataplaneService/ListDataplanes",
    "/headcount.v1.WorkloadService/GetWorkload",
    "/headcount.v1.WorkloadService/ListWorkloads",
    "/headcount.v1.WorkloadService/WatchWorkloads",
    "/headcount.v1.WorkloadService/WaitForWorkload",
    "/headcount.v1.EventService/WatchEvents",
    "/grpc.health.v1.Health/Check",
];
/// tonic's own, which ends the stream of who sends nonsense without a word.
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// More than 64 KiB in field 1, which is text or a message everywhere.
fn too_long() -> Vec<u8> {
    let text = "x".repeat(70_000);
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(text.len() as u64, &mut message);
    message.extend(text.as_bytes());
    message
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_on_every_method() {
    let server = Server::start().await;
    for method in METHODS {
        let status = call(server.channel(), method, too_long()).await;
        let words = [
            "message: ",
            "too large",
            "70004 bytes",
            "the limit is: 65536 bytes",
        ];
        assert_says(&status, Code::InvalidArgument, &words);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn a_hello_that_is_too_long_is_refused_and_not_counted() {
    let server = Server::start().await;
    let mut line = Line::open(server.connect().await).await;
    let mut stated = dataplane("a", "web");
    stated.address = "a".repeat(70_000);
    line.say(hello(stated));
    assert_says(
        &line.end().await,
        Code::InvalidArgument,
        &["message: ", "65536 bytes"],
    );
    assert_eq!(server.counts("web").await, (0, 0, 0));
    still_serves(&server).await;
}

#[tokio::test]
async fn bytes_that_are_no_protobuf_are_refused_on_every_method() {
    let server = Server::start().await;
    for method in METHODS {
        // Field 1 says that five bytes follow, and one does.
        let status = call(server.channel(), method, &[0x0a, 0x05, 0x00][..]).await;
        assert_says(&status, Code::InvalidArgument, &["message: ", "rotobuf"]);
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn reflection_answers_no_nonsense() {
    let server = Server::start().await;
    for message in [too_long(), vec![0x0a, 0x05, 0x00]] {
        let status = call(server.channel(), REFLECTION, message).await;
        assert_eq!(status.code(), Code::Ok, "{status:?}");
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn text_that_is_no_utf8_is_refused() {
    let server = Server::start().await;
    let method = "/headcount.v1.WorkloadService/GetWorkload";
    let status = call(server.channel(), method, &[0x0a, 0x02, 0xff, 0xfe][..]).await;
    assert_says(&status, Code::InvalidArgument, &["name", "UTF-8"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn bad_bytes_within_a_session_end_it() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    for bad in [
        framed(&too_long()),
        framed(&[0x12, 0x05, 0x00]),
        vec![1, 0, 0, 0, 0],
        vec![0, 255, 255, 255, 255],
    ] {
        let said = Some(hello(dataplane("a", "web")));
        let said = SessionRequest { message: said }.encode_to_vec();
        let stream = open_stream(server.connect().await, METHODS[0], &said).await;
        watch.next().await;
        assert_eq!(watch.counts("web"), (1, 0, 1));
        stream.send(&bad);
        assert_says(&stream.end().await, Code::InvalidArgument, &["message: "]);
        watch.next().await;
        assert_eq!(watch.counts("web"), (0, 0, 1));
        still_serves(&server).await;
        watch.until_revision(server.list().await.revision).await;
    }
    let refused = r#"headcount_sessions_ended_total{reason="refused"}"#;
    server.until_metric(refused, 4).await;
}

/// Fields of a later version of the protocol hurt nobody.
#[tokio::test]
async fn unknown_fields_are_skipped() {
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
async fn framing_that_lies_is_refused() {
    let server = Server::start().await;
    let good = SessionRequest {
        message: Some(Said::Goodbye(Goodbye {})),
    };
    let good = framed(&good.encode_to_vec());
    for method in METHODS {
        for (what, body) in [
            ("says that it is compressed", vec![1, 0, 0, 0, 0]),
            ("has a flag that does not exist", vec![7, 0, 0, 0, 0]),
            ("ends within the message", vec![0, 0, 0, 0, 9, 1]),
            ("ends within the frame's head", good[..3].to_vec()),
            ("says that 4 GiB follow", vec![0, 255, 255, 255, 255, 1]),
        ] {
            let status = call_with_body(server.channel(), method, body).await;
            let refused = (method, what, Code::InvalidArgument);
            assert_eq!((method, what, status.code()), refused, "{status:?}");
        }
        still_serves(&server).await;
    }
}

#[tokio::test]
async fn a_call_without_any_message_is_answered() {
    let server = Server::start().await;
    for method in METHODS {
        let status = call_with_body(server.channel(), method, vec![]).await;
        let expected = if method.ends_with("/Session") {
            Code::Ok
        } else {
            Code::InvalidArgument
        };
        assert_eq!((method, status.code()), (method, expected), "{status:?}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn headers_that_are_too_long_are_refused() {
    let server = Server::start().await;
    let mut request = tonic::Request::new(ListWorkloadsRequest::default());
    let long = "x".repeat(20_000).parse().unwrap();
    request.metadata_mut().insert("x-long", long);
    let listed = server.workloads().list_workloads(request).await;
    assert_ne!(listed.unwrap_err().code(), Code::Ok);
    still_serves(&server).await;
}
