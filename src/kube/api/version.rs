//! Which Kubernetes this is like, and whether it is well.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode},
    response::Response,
};
use serde::Serialize;

use crate::kube::{
    Desk,
    protocol::response::{answer, json},
};

/// The newest minor version of Kubernetes whose kubectl is known to work. By it
/// kubectl says whether it is too old or too new, and distributions of several
/// kubectls choose one.
const MINOR: &str = "36";

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are Kubernetes' own")]
struct Version {
    major: &'static str,
    minor: &'static str,
    git_version: String,
    git_commit: &'static str,
    git_tree_state: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    compiler: &'static str,
    platform: String,
}

pub(crate) async fn version() -> Response {
    json(&Version {
        major: "1",
        minor: MINOR,
        git_version: format!("v1.{MINOR}.0+headcount-{}", env!("CARGO_PKG_VERSION")),
        // What a build of Kubernetes would say here, nobody needs to know of this.
        git_commit: "",
        git_tree_state: "",
        build_date: "",
        go_version: "",
        compiler: "rustc",
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

pub(crate) async fn live() -> Response {
    answer(TEXT, "ok")
}

pub(crate) async fn ready(State(desk): State<Arc<Desk>>) -> Response {
    if desk.ready.is_ready() {
        return live().await;
    }
    let mut response = answer(TEXT, "not ready: starting or draining");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
