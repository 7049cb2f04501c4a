//! Counts every call by service, method and the code with which it ended. A call whose
//! client vanished is counted as `Canceled`, not as `OK`.

use std::{
    collections::{HashMap, HashSet},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use http_body::{Body, Frame, SizeHint};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::telemetry::metrics::CallMetrics;

/// The layer that counts the calls of a service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct CallObserver {
    methods: Arc<HashMap<String, Arc<Method>>>,
    unknown: Arc<Method>,
    metrics: CallMetrics,
}

/// A method as metrics name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Method {
    kind: &'static str,
    service: String,
    name: String,
}

impl Method {
    /// Counts all paths that are not served, so that clients can't create series.
    fn unknown() -> Self {
        Self { kind: "unknown", service: "unknown".into(), name: "unknown".into() }
    }

    fn labels(&self) -> [&str; 3] {
        [self.kind, &self.service, &self.name]
    }
}

impl CallObserver {
    /// A layer for the methods of these encoded descriptor sets.
    pub(in crate::grpc) fn new(
        descriptors: &[&[u8]],
        metrics: CallMetrics,
    ) -> Result<Self, prost::DecodeError> {
        let mut methods = HashMap::new();
        for set in descriptors {
            for file in FileDescriptorSet::decode(*set)?.file {
                for service in &file.service {
                    let service_name = format!("{}.{}", file.package(), service.name());
                    for method in &service.method {
                        let kind = match (method.client_streaming(), method.server_streaming()) {
                            (false, false) => "unary",
                            (true, false) => "client_stream",
                            (false, true) => "server_stream",
                            (true, true) => "bidi_stream",
                        };
                        let (service, name) = (service_name.clone(), method.name().to_owned());
                        methods
                            .insert(format!("/{service}/{name}"), Arc::new(Method { kind, service, name }));
                    }
                }
            }
        }
        Ok(Self { methods: Arc::new(methods), unknown: Arc::new(Method::unknown()), metrics })
    }

    /// Returns the paths of the methods whose request is one message.
    pub(in crate::grpc) fn one_message_methods(&self) -> HashSet<String> {
        let takes_one = |method: &Method| ["unary", "server_stream"].contains(&method.kind);
        let methods = self.methods.iter().filter(|(_, method)| takes_one(method));
        methods.map(|(path, _)| path.clone()).collect()
    }
}

impl<S> Layer<S> for CallObserver {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observed { inner, observer: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Observed<S> {
    inner: S,
    observer: CallObserver,
}

impl<S, In, Out> Service<http::Request<In>> for Observed<S>
where
    S: Service<http::Request<In>, Response = http::Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = http::Response<ObservedBody<Out>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<In>) -> Self::Future {
        let mut call = Call::begin(&self.observer, request.uri().path());
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            // A response without a body has its status in the headers.
            call.record(Status::from_header_map(response.headers()));
            Ok(response.map(|inner| ObservedBody { inner, call }))
        })
    }
}

/// A call in progress. It is counted when it is dropped.
#[derive(Debug)]
struct Call {
    method: Arc<Method>,
    metrics: CallMetrics,
    start: Instant,
    code: Option<Code>,
}

impl Call {
    fn begin(observer: &CallObserver, path: &str) -> Self {
        let method = Arc::clone(observer.methods.get(path).unwrap_or(&observer.unknown));
        observer.metrics.started(method.labels());
        Self { method, metrics: observer.metrics.clone(), start: Instant::now(), code: None }
    }

    fn record(&mut self, status: Option<Status>) {
        if let Some(status) = status {
            self.code = Some(status.code());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.code.unwrap_or(Code::Cancelled);
        let took = (self.method.kind == "unary").then(|| self.start.elapsed());
        self.metrics.handled(self.method.labels(), code_name(code), took);
    }
}

/// A response body that records the status in its trailers.
#[derive(Debug)]
pub(in crate::grpc) struct ObservedBody<B> {
    inner: B,
    call: Call,
}

impl<B: Body + Unpin> Body for ObservedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.record(Status::from_header_map(trailers));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Codes as other gRPC metrics spell them: Go's names.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
