//! Ends streams when the server shuts down or their connection reaches its maximum age: watches,
//! and the streams of services that know nothing of either.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, stream};
use http_body::Frame;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::{
    audit::AuditedCall,
    grpc::{
        access::server_right,
        status::{aged_connection, draining},
    },
};

/// Announces that a connection has reached its maximum age; none if there is no maximum. Every
/// request carries it as an extension.
#[derive(Debug, Clone, Default)]
pub(in crate::grpc) struct ConnectionAge(pub(super) Option<CancellationToken>);

impl ConnectionAge {
    pub(in crate::grpc) fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Returns a future that resolves when the maximum age is reached; none if there is none.
    pub(in crate::grpc) fn reached(&self) -> Option<Pin<Box<WaitForCancellationFutureOwned>>> {
        self.0.clone().map(|aged| Box::pin(aged.cancelled_owned()))
    }
}

/// How long the server lets a stream run.
#[derive(Debug)]
pub(in crate::grpc) struct Lifetime {
    shutdown: CancellationToken,
    age: ConnectionAge,
    right: Arc<AuditedCall>,
}

impl Lifetime {
    /// The stream ends when `shutdown` is cancelled, its connection is too old, or the right of its
    /// caller has ended.
    pub(in crate::grpc) fn new(shutdown: &CancellationToken, age: ConnectionAge, right: AuditedCall) -> Self {
        Self { shutdown: shutdown.clone(), age, right: Arc::new(right) }
    }

    /// Waits until the stream must end, and returns the status with which it ends.
    pub(in crate::grpc) async fn end(self) -> Status {
        let aged = async {
            match self.age.reached() {
                Some(reached) => reached.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => draining(),
            ended = self.right.ended() => ended.into(),
            () = aged => aged_connection(),
        }
    }
}

/// Ends a stream of responses with a status at the end of its lifetime, unless it ends by
/// itself before.
pub(in crate::grpc) fn until_end<T: Send, S: Stream<Item = T> + Send>(
    responses: S,
    lifetime: Lifetime,
) -> impl Stream<Item = Result<T, Status>> + Send + use<T, S> {
    let streams = (Box::pin(responses), lifetime.end().boxed());
    stream::unfold(Some(streams), async |streams| {
        let (mut responses, mut end) = streams?;
        tokio::select! {
            biased;
            status = &mut end => Some((Err(status), None)),
            response = responses.next() => Some((Ok(response?), Some((responses, end)))),
        }
    })
}

/// Wraps a service so that its responses end with `UNAVAILABLE` at shutdown, or when their
/// connection reaches its maximum age, and when the right of their caller ends. A graceful shutdown
/// would otherwise wait for them forever.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct UntilEnd<S> {
    inner: S,
    shutdown: CancellationToken,
}

impl<S> UntilEnd<S> {
    pub(in crate::grpc) fn new(inner: S, shutdown: CancellationToken) -> Self {
        Self { inner, shutdown }
    }
}

impl<S: NamedService> NamedService for UntilEnd<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for UntilEnd<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let age = request.extensions().get().cloned().unwrap_or_default();
        let right = match server_right(&request) {
            Ok(right) => Arc::new(right),
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        let end = Lifetime { shutdown: self.shutdown.clone(), age, right: Arc::clone(&right) }.end();
        // Reflection reads requests in a task that ends only when they do, so the request
        // ends with the response.
        let responded = CancellationToken::new();
        let request = request.map(|inner| {
            Body::new(UntilEndBody {
                inner,
                end: Some(Box::pin(responded.clone().cancelled_owned().map(|()| None))),
                right: None,
                _responded: None,
            })
        });
        let responded = responded.drop_guard();
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(response.map(|inner| {
                Body::new(UntilEndBody {
                    inner,
                    end: Some(Box::pin(end.map(Some))),
                    right: Some(right),
                    _responded: Some(responded),
                })
            }))
        })
    }
}

struct UntilEndBody {
    inner: Body,
    /// Resolves when the body must end, to the status in the trailers; a request has none. None
    /// once the body has ended.
    end: Option<Pin<Box<dyn Future<Output = Option<Status>> + Send>>>,
    /// The right of the caller of a response.
    right: Option<Arc<AuditedCall>>,
    _responded: Option<DropGuard>,
}

impl http_body::Body for UntilEndBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { inner, end: Some(end), right, .. } = &mut *self else {
            return Poll::Ready(None);
        };
        // A frame that is ready goes first: a health watch sends NOT_SERVING before it ends. But a caller
        // without a right gets none, because a client can always have another request ready.
        if !right.as_ref().is_some_and(|right| right.has_ended()) {
            let frame = Pin::new(inner).poll_frame(cx);
            if frame.is_ready() {
                return frame;
            }
        }
        let final_status = ready!(end.as_mut().poll(cx));
        self.end = None;
        Poll::Ready(final_status.as_ref().map(trailers))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers)?;
    Ok(Frame::trailers(headers))
}
