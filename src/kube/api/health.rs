//! Health checks, for kube-apiserver and the kubelet.

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::HeaderValue,
    response::Response,
};

use crate::{audit::AuditedCaller, kube::protocol::response::response, telemetry::readyz::ReadyChecks};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

pub(crate) async fn live() -> Response {
    response(TEXT, "ok")
}

pub(crate) async fn ready(
    State(checks): State<ReadyChecks>,
    RawQuery(query): RawQuery,
    caller: Option<Extension<AuditedCaller>>,
) -> Response {
    let details = caller.is_some_and(|Extension(caller)| caller.may_see_details());
    let (code, text) = checks.respond(query.as_deref(), details);
    let mut response = response(TEXT, text);
    *response.status_mut() = code;
    response
}
