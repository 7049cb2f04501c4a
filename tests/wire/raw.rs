//! What no generated client would send.

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

use crate::support::soon;

/// Messages as their bytes.
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

/// Calls any path with any bytes as its one message, and says how that ends.
pub async fn call(channel: Channel, path: &'static str, message: impl Into<Bytes>) -> Status {
    let mut grpc = Grpc::new(channel);
    soon("a connection", grpc.ready()).await.expect("a connection");
    let path = http::uri::PathAndQuery::from_static(path);
    let message = tonic::Request::new(message.into());
    let mut answers = match soon(
        path.as_str(),
        grpc.server_streaming(message, path.clone(), BytesCodec),
    )
    .await
    {
        Ok(answers) => answers.into_inner(),
        Err(status) => return status,
    };
    loop {
        match soon(path.as_str(), answers.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Status::new(Code::Ok, ""),
            Err(status) => return status,
        }
    }
}

/// Calls a path with any bytes as the request's body: gRPC's framing of
/// messages is up to the caller too.
pub async fn call_with_body(mut channel: Channel, path: &str, body: Vec<u8>) -> Status {
    let request = request(path, Body::new(Full::new(Bytes::from(body))));
    std::future::poll_fn(|cx| channel.poll_ready(cx))
        .await
        .expect("a connection");
    let response = soon(path, channel.call(request)).await.expect("a response");
    status_of(response).await
}

async fn status_of(response: http::Response<Body>) -> Status {
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let body = soon("the end", response.into_body().collect()).await;
    let body = body.expect("the whole body");
    let trailers = body.trailers().expect("trailers");
    Status::from_header_map(trailers).expect("a status")
}

/// A stream on which one message was said, and of which both halves are open.
pub struct OpenStream {
    body: mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>,
    response: http::Response<Body>,
}

impl OpenStream {
    /// Any bytes, framing included.
    pub fn send(&self, bytes: &[u8]) {
        let data = Frame::data(Bytes::copy_from_slice(bytes));
        self.body.send(Ok(data)).expect("the body is still read");
    }

    /// How the stream ends; answers before that are not looked at.
    pub async fn end(self) -> Status {
        status_of(self.response).await
    }

    /// `RST_STREAM`: the connection lives on.
    pub fn reset(&self) {
        let broken = Status::cancelled("the test breaks its request's body");
        self.body.send(Err(broken)).expect("the body is still read");
    }
}

pub async fn open_stream(mut channel: Channel, path: &str, message: &[u8]) -> OpenStream {
    let (body, frames) = mpsc::unbounded_channel();
    let first = Frame::data(Bytes::from(framed(message)));
    body.send(Ok(first)).expect("it has just been made");
    let frames = StreamBody::new(UnboundedReceiverStream::new(frames));
    let request = request(path, Body::new(frames));
    std::future::poll_fn(|cx| channel.poll_ready(cx))
        .await
        .expect("a connection");
    let response = soon(path, channel.call(request)).await.expect("a response");
    OpenStream { body, response }
}

fn request(path: &str, body: Body) -> http::Request<Body> {
    http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request")
}

/// One message in gRPC's framing.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a short message");
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// Reads until the server closes the connection, however it does that.
pub async fn closed(io: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    match soon("the connection's end", io.read_to_end(&mut heard)).await {
        Ok(_) => {}
        // Closed while something of ours was not read.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}"),
    }
    heard
}

/// A wire between a client and the server that can go dead: nothing is closed,
/// and nothing comes through any more.
pub struct Wire {
    pub addr: SocketAddr,
    dead: CancellationToken,
    task: JoinHandle<()>,
}

impl Wire {
    /// For one connection.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let dead = CancellationToken::new();
        let task = tokio::spawn({
            let dead = dead.clone();
            async move {
                let (mut near, _) = listener.accept().await.expect("the client");
                let mut far = TcpStream::connect(server).await.expect("the server");
                tokio::select! {
                    _closed = copy_bidirectional(&mut near, &mut far) => {}
                    () = dead.cancelled() => std::future::pending().await,
                }
            }
        });
        Self { addr, dead, task }
    }

    pub fn die(&self) {
        self.dead.cancel();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}
