//! Ends the streams of a service that knows no shutdown of its own.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body, server::NamedService};
use tower::Service;

use super::status::draining;

/// A service whose responses end with `UNAVAILABLE` at shutdown. Otherwise the
/// graceful end of the server would wait for them for ever.
#[derive(Debug, Clone)]
pub(super) struct Until<S> {
    inner: S,
    shutdown: CancellationToken,
}

impl<S> Until<S> {
    pub(super) fn new(inner: S, shutdown: CancellationToken) -> Self {
        Self { inner, shutdown }
    }
}

impl<S: NamedService> NamedService for Until<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Until<S>
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
        // Reflection reads requests in a task of its own, which ends only when
        // they do: so they end with the response.
        let answered = CancellationToken::new();
        let request = request.map(|inner| {
            Body::new(UntilBody {
                inner,
                end: Some(Box::pin(answered.clone().cancelled_owned())),
                farewell: None,
                _answered: None,
            })
        });
        let answered = answered.drop_guard();
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            Ok(response.map(|inner| {
                Body::new(UntilBody {
                    inner,
                    end: Some(shutdown),
                    farewell: Some(draining()),
                    _answered: Some(answered),
                })
            }))
        })
    }
}

struct UntilBody {
    inner: Body,
    /// None once the body has been ended.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// What a response ends with; a request just ends.
    farewell: Option<Status>,
    _answered: Option<DropGuard>,
}

impl http_body::Body for UntilBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        let over = end.as_mut().poll(cx).is_ready();
        // What is ready comes first: a health watch says NOT_SERVING before it ends.
        let frame = Pin::new(&mut self.inner).poll_frame(cx);
        if frame.is_ready() || !over {
            return frame;
        }
        self.end = None;
        Poll::Ready(self.farewell.as_ref().map(trailers))
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
