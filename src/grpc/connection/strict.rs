//! What tonic accepts although gRPC forbids it: other methods than POST, other content types, and
//! a request of several messages for a method that takes one.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header::ALLOW, header::CONTENT_TYPE},
    middleware::Next,
    response::Response,
};
use http_body::Frame;
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status};

use crate::net::rejection::rejection;

const GRPC: &str = "application/grpc";
/// Bytes before each message: a flag, and the length in 32 bits.
const PREFIX: usize = 5;

/// What is checked.
#[derive(Debug)]
pub(in crate::grpc) struct RequestRules {
    /// The paths of methods whose request is one message.
    pub(in crate::grpc) one_message: HashSet<String>,
    /// Longest time for such a request to arrive.
    pub(in crate::grpc) timeout: Duration,
}

/// Rejects requests that are no gRPC, and requests with a wrong number of messages. HTTP 415 is that of
/// gRPC's `PROTOCOL-HTTP2.md`, the status code for the messages that of its `statuscodes.md`.
pub(in crate::grpc) async fn check_request(
    State(rules): State<Arc<RequestRules>>,
    request: Request,
    next: Next,
) -> Response {
    if request.method() != Method::POST {
        let message = format!("method {}: must be POST", request.method());
        let mut response = Status::internal(message).into_http();
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if !has_grpc_content(request.headers()) {
        let message = format!("content-type: must be {GRPC}");
        let mut response = Status::invalid_argument(message).into_http();
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let request = if rules.one_message.contains(request.uri().path()) {
        request.map(|inner| Body::new(OneMessage::new(inner, rules.timeout)))
    } else {
        request
    };
    next.run(request).await
}

/// Whether the content type is gRPC's, with any encoding or parameter after it.
fn has_grpc_content(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (start, rest) = content_type.split_at_checked(GRPC.len()).unwrap_or_default();
    start.eq_ignore_ascii_case(GRPC) && (rest.is_empty() || rest.starts_with(['+', ';']))
}

/// The body of a request that must have one message. It fails at the first byte after it, at its
/// end if there is none, and after a timeout.
struct OneMessage {
    inner: Body,
    count: MessageCount,
    timeout: Duration,
    /// Runs while the rest of the body has not arrived.
    timer: Option<Pin<Box<Sleep>>>,
}

impl OneMessage {
    fn new(inner: Body, timeout: Duration) -> Self {
        Self { inner, count: MessageCount::default(), timeout, timer: None }
    }

    fn check(&mut self, frame: Option<&Frame<Bytes>>) -> Result<(), Status> {
        let allowed = match frame {
            Some(frame) => frame.data_ref().is_none_or(|data| self.count.add(data)),
            None => self.count.received > 0,
        };
        let message = "the method takes exactly one request message";
        if allowed { Ok(()) } else { Err(rejection(Code::Unimplemented, message)) }
    }
}

impl http_body::Body for OneMessage {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(frame) => {
                let frame = frame.and_then(Result::ok);
                Poll::Ready(match self.check(frame.as_ref()) {
                    Ok(()) => frame.map(Ok),
                    Err(rejected) => Some(Err(rejected.into())),
                })
            }
            Poll::Pending => {
                let timeout = self.timeout;
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
                timer.as_mut().poll(cx).map(|()| {
                    let message = format!("the request did not arrive within {timeout:?}");
                    Some(Err(Status::deadline_exceeded(message).into()))
                })
            }
        }
    }
}

/// Counts messages by their prefixes.
#[derive(Debug, Default)]
struct MessageCount {
    /// Bytes of all that have arrived.
    received: usize,
    /// Length of the first message, from the bytes of its prefix that have arrived.
    length: usize,
}

impl MessageCount {
    /// Adds bytes; false if some are after the end of the first message.
    fn add(&mut self, data: &[u8]) -> bool {
        for byte in
            data.iter().take(PREFIX.saturating_sub(self.received)).skip(1_usize.saturating_sub(self.received))
        {
            self.length = self.length << 8 | usize::from(*byte);
        }
        self.received = self.received.saturating_add(data.len());
        self.received <= PREFIX || self.received - PREFIX <= self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_message_is_noticed_however_the_bytes_are_split() {
        let one = [0, 0, 0, 1, 2].into_iter().chain([7; 258]).collect::<Vec<_>>();
        for (bytes, allowed) in [
            (&one[..], true),
            (&one[..3], true),
            (&[0, 0, 0, 0, 0], true),
            (&[0, 0, 0, 0, 0, 0], false),
            (&[&one[..], &[0]].concat(), false),
            (&[&one[..], &one].concat(), false),
            (&[0, 255, 255, 255, 255, 1], true),
        ] {
            for size in [1, 2, 4, 5, 6, 1_000] {
                let mut count = MessageCount::default();
                let all = bytes.chunks(size).all(|chunk| count.add(chunk));
                assert_eq!(all, allowed, "{} bytes, {size} at a time", bytes.len());
            }
        }
    }

    #[test]
    fn content_types_of_grpc_are_accepted() {
        let check =
            |value: &str| has_grpc_content(&HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]));
        for grpc in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "Application/GRPC",
        ] {
            assert!(check(grpc), "{grpc}");
        }
        for other in
            ["application/json", "application/grpc-web", "application/grpcx", "", "application/gr", "x"]
        {
            assert!(!check(other), "{other}");
        }
        assert!(!has_grpc_content(&HeaderMap::new()));
    }
}
