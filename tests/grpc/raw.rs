//! Requests that no generated client sends, and connections below gRPC.

use std::{io, net::SocketAddr};

use bytes::{Buf as _, BufMut as _, Bytes};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::{
    io::{AsyncReadExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Code, Status,
    body::Body,
    client::{Grpc, GrpcService as _},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use crate::support::in_time;

/// A codec whose messages are raw bytes.
#[derive(Debug, Clone, Copy, Default)]
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}

/// Calls any method with any bytes as the one request message, reads all responses, and returns the
/// status.
pub async fn call(channel: Channel, path: &'static str, message: impl Into<Bytes>) -> Status {
    let mut grpc = Grpc::new(channel);
    in_time("a connection", grpc.ready()).await.expect("a connection");
    let path = http::uri::PathAndQuery::from_static(path);
    let message = tonic::Request::new(message.into());
    let mut responses =
        match in_time(path.as_str(), grpc.server_streaming(message, path.clone(), BytesCodec)).await {
            Ok(responses) => responses.into_inner(),
            Err(status) => return status,
        };
    loop {
        match in_time(path.as_str(), responses.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::new(Code::Ok, ""),
            Err(status) => return status,
        }
    }
}

/// Calls any method with any bytes as the request body, message framing included.
pub async fn call_with_body(mut channel: Channel, path: &str, body: Vec<u8>) -> Status {
    let request = request(path, Body::new(Full::new(Bytes::from(body))));
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    let response = in_time(path, channel.call(request)).await.expect("a response");
    status_of(response).await
}

async fn status_of(response: http::Response<Body>) -> Status {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let body = in_time("the end of the response", response.into_body().collect()).await;
    let body = body.expect("the whole body");
    let trailers = body.trailers().expect("trailers");
    Status::from_header_map(trailers).expect("a status")
}

/// A stream on which one request message has been sent, with both halves still open.
pub struct OpenStream {
    body: mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>,
    response: http::Response<Body>,
}

impl OpenStream {
    /// Sends any bytes as part of the request body, message framing included.
    pub fn send(&self, bytes: &[u8]) {
        let data = Frame::data(Bytes::copy_from_slice(bytes));
        self.body.send(Ok(data)).expect("an open stream");
    }

    /// Returns the status of the stream, and ignores all response messages.
    pub async fn end(self) -> Status {
        status_of(self.response).await
    }

    /// Sends `RST_STREAM`; the connection stays open.
    pub fn reset(&self) {
        let broken = Status::cancelled("the test resets the stream");
        self.body.send(Err(broken)).expect("an open stream");
    }
}

/// Calls a method with one request message, and leaves the request body open.
pub async fn open_stream(mut channel: Channel, path: &str, message: &[u8]) -> OpenStream {
    let (body, frames) = mpsc::unbounded_channel();
    let first = Frame::data(Bytes::from(framed(message)));
    body.send(Ok(first)).expect("an open channel");
    let frames = StreamBody::new(UnboundedReceiverStream::new(frames));
    let request = request(path, Body::new(frames));
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    let response = in_time(path, channel.call(request)).await.expect("a response");
    OpenStream { body, response }
}

fn request(path: &str, body: Body) -> http::Request<Body> {
    http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request")
}

/// Encodes a length-prefixed gRPC message.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// Reads until the server closes or resets the connection, and returns the received bytes.
pub async fn read_until_closed(io: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    match in_time("the end of the connection", io.read_to_end(&mut received)).await {
        Ok(_) => {}
        // The server closed the connection with unread data.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    received
}

/// Forwards one TCP connection until [`stall`](Self::stall): from then on it forwards nothing and
/// closes nothing, like a link that is cut.
pub struct TcpForwarder {
    pub addr: SocketAddr,
    stalled: CancellationToken,
    task: JoinHandle<()>,
}

impl TcpForwarder {
    /// Listens for one connection, and forwards it to the server.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let stalled = CancellationToken::new();
        let task = tokio::spawn({
            let stalled = stalled.clone();
            async move {
                let (mut downstream, _) = listener.accept().await.expect("the client");
                let mut upstream = TcpStream::connect(server).await.expect("the server");
                tokio::select! {
                    _closed = copy_bidirectional(&mut downstream, &mut upstream) => {}
                    () = stalled.cancelled() => std::future::pending().await,
                }
            }
        });
        Self { addr, stalled, task }
    }

    pub fn stall(&self) {
        self.stalled.cancel();
    }
}

impl Drop for TcpForwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
