//! Workloads are managed by headcount alone. A client that looks for an RPC to write one
//! gets an explanation instead of `UNIMPLEMENTED`.

use axum::{body::Body, routing::post};
use tonic::{Code, service::Routes};

use crate::{
    model::MANAGED, net::rejection::rejection, proto::server::workload_service_server::SERVICE_NAME,
};

/// The verbs that a client would try on a writable resource.
const VERBS: [&str; 6] = ["Create", "Update", "Patch", "Replace", "Apply", "Delete"];

/// Answers calls that would write a Workload with `PERMISSION_DENIED`.
pub(in crate::grpc) fn reject_writes(routes: Routes) -> Routes {
    let reject = || async { rejection(Code::PermissionDenied, MANAGED).into_http::<Body>() };
    let add = |router: axum::Router, verb: &str| {
        router.route(&format!("/{SERVICE_NAME}/{verb}Workload"), post(reject))
    };
    VERBS.into_iter().fold(routes.into_axum_router(), add).into()
}
