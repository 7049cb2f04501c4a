//! Workloads are made by headcount alone. Whoever looks for an RPC to write
//! one finds none, and here hears why.

use axum::{body::Body, routing::post};
use tonic::{Status, service::Routes};

use crate::{model::MANAGED, proto::server::workload_service_server::SERVICE_NAME};

/// What a client would call that expects a resource like any other.
const VERBS: [&str; 6] = ["Create", "Update", "Patch", "Replace", "Apply", "Delete"];

/// Answers calls that would write a Workload with who manages it.
pub(super) fn refuse_writes(routes: Routes) -> Routes {
    let refuse = || async { refused().into_http::<Body>() };
    let add = |router: axum::Router, verb: &str| {
        router.route(&format!("/{SERVICE_NAME}/{verb}Workload"), post(refuse))
    };
    VERBS.into_iter().fold(routes.into_axum_router(), add).into()
}

fn refused() -> Status {
    Status::permission_denied(MANAGED)
}
