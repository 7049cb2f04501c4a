//! Health checks, for kube-apiserver and the kubelet.

use axum::{
    extract::{RawQuery, State},
    http::HeaderValue,
    response::Response,
};

use crate::{kube::protocol::response::response, telemetry::readyz::ReadyChecks};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) async fn live() -> Response {
    response(TEXT, "ok")
}

pub(crate) async fn ready(State(checks): State<ReadyChecks>, RawQuery(query): RawQuery) -> Response {
    let (code, text) = checks.respond(query.as_deref());
    let mut response = response(TEXT, text);
    *response.status_mut() = code;
    response
}
