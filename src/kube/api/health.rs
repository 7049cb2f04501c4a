//! Health checks, for kube-apiserver and the kubelet.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode},
    response::Response,
};

use crate::{kube::protocol::response::response, runtime::readiness::Readiness};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) async fn live() -> Response {
    response(TEXT, "ok")
}

pub(crate) async fn ready(State(ready): State<Readiness>) -> Response {
    if ready.is_ready() {
        return live().await;
    }
    let mut not_ready = response(TEXT, "not ready: starting or draining");
    *not_ready.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    not_ready
}
