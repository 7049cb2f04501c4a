//! The version of Kubernetes that this API corresponds to.

use axum::response::Response;
use serde::Serialize;

use crate::kube::protocol::response::json_response;

/// The minor version of the newest kubectl that is tested. kubectl compares it with its own
/// to warn about version skew, and wrappers choose a kubectl by it.
const MINOR: &str = "36";

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
    json_response(&Version {
        major: "1",
        minor: MINOR,
        git_version: format!("v1.{MINOR}.0+headcount-{}", env!("CARGO_PKG_VERSION")),
        // Required fields that describe a build of Kubernetes.
        git_commit: "",
        git_tree_state: "",
        build_date: "",
        go_version: "",
        compiler: "rustc",
        platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}
