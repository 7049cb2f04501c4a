//! Ends streams at shutdown: watches, and the streams of services that have no shutdown of
//! their own.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body::Frame;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use crate::grpc::status::draining;

/// Ends a stream of responses with `UNAVAILABLE` at shutdown.
pub(in crate::grpc) fn until_shutdown<T: Send, S: Stream<Item = T> + Send>(
    responses: S,
    shutdown: &CancellationToken,
) -> impl Stream<Item = Result<T, Status>> + Send + use<T, S> {
    let responses = responses.map(Ok).take_until(shutdown.clone().cancelled_owned());
    responses.chain(stream::once(async { Err(draining()) }))
}

/// Wraps a service so that its responses end with `UNAVAILABLE` at shutdown. The graceful
/// shutdown of the server would otherwise wait for them forever.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct UntilShutdown<S> {
    inner: S,
    shutdown: CancellationToken,
}

impl<S> UntilShutdown<S> {
    pub(in crate::grpc) fn new(inner: S, shutdown: CancellationToken) -> Self {
        Self { inner, shutdown }
    }
}

impl<S: NamedService> NamedService for UntilShutdown<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for UntilShutdown<S>
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
        let shutdown = Box::pin(self.shutdown.clone().cancelled_owned());
        // Reflection reads requests in a task that ends only when they do, so the request
        // ends with the response.
        let responded = CancellationToken::new();
        let request = request.map(|inner| {
            Body::new(UntilShutdownBody {
                inner,
                end: Some(Box::pin(responded.clone().cancelled_owned())),
                final_status: None,
                _responded: None,
            })
        });
        let responded = responded.drop_guard();
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(response.map(|inner| {
                Body::new(UntilShutdownBody {
                    inner,
                    end: Some(shutdown),
                    final_status: Some(draining()),
                    _responded: Some(responded),
                })
            }))
        })
    }
}

struct UntilShutdownBody {
    inner: Body,
    /// When the body must end; none once it has ended.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// The trailers of a response; a request has none.
    final_status: Option<Status>,
    _responded: Option<DropGuard>,
}

impl http_body::Body for UntilShutdownBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        let ended = end.as_mut().poll(cx).is_ready();
        // A frame that is ready goes first: a health watch sends NOT_SERVING before it ends.
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if frame.is_ready() || !ended {
            return frame;
        }
        self.end = None;
        Poll::Ready(self.final_status.as_ref().map(trailers))
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
