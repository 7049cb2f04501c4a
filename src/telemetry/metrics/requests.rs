//! Metrics of gRPC calls and of requests to the Kubernetes API.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, core::Collector};

/// Counts gRPC calls by service, method and code, with the metric names of
/// go-grpc-middleware, which other gRPC servers use too.
#[derive(Debug, Clone)]
pub struct CallMetrics {
    started: IntCounterVec,
    handled: IntCounterVec,
    seconds: HistogramVec,
}

impl CallMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let method = ["grpc_type", "grpc_service", "grpc_method"];
        let started = Opts::new("grpc_server_started_total", "RPCs started on the server.");
        let handled =
            Opts::new("grpc_server_handled_total", "RPCs completed on the server, by their status code.");
        let seconds = HistogramOpts::new("grpc_server_handling_seconds", "Duration of unary RPCs.");
        Ok(Self {
            started: IntCounterVec::new(started, &method)?,
            handled: IntCounterVec::new(handled, &[&method[..], &["grpc_code"]].concat())?,
            seconds: HistogramVec::new(seconds, &method)?,
        })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [Box::new(self.started.clone()), Box::new(self.handled.clone()), Box::new(self.seconds.clone())]
    }

    /// Counts the start of a call; `method` is its type, service and method name.
    pub fn started(&self, method: [&str; 3]) {
        self.started.with_label_values(&method).inc();
    }

    /// Counts the end of a call with a gRPC status code such as `OK`, and records the duration
    /// of a unary call.
    pub fn handled(&self, method: [&str; 3], code: &str, took: Option<Duration>) {
        let [kind, service, name] = method;
        self.handled.with_label_values(&[kind, service, name, code]).inc();
        if let Some(took) = took {
            self.seconds.with_label_values(&method).observe(took.as_secs_f64());
        }
    }
}

/// Counts requests to the Kubernetes API, by verb, resource and code as kube-apiserver does.
#[derive(Debug, Clone)]
pub struct KubeMetrics {
    requests: IntCounterVec,
}

impl KubeMetrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let requests = Opts::new(
            "headcount_kube_requests_total",
            "Requests to the Kubernetes API, by verb, resource and HTTP status code; a watch counts when it starts.",
        );
        Ok(Self { requests: IntCounterVec::new(requests, &["verb", "resource", "code"])? })
    }

    pub(super) fn collectors(&self) -> [Box<dyn Collector>; 1] {
        [Box::new(self.requests.clone())]
    }

    /// Counts a response.
    pub fn answered(&self, verb: &'static str, resource: &'static str, code: u16) {
        self.requests.with_label_values(&[verb, resource, &code.to_string()]).inc();
    }
}
