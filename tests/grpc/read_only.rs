//! Workloads are read-only: the server rejects writes with an explanation.

use tonic::Code;

use crate::{
    raw::call,
    support::{Server, assert_status, dataplane, still_serves},
};

#[tokio::test]
async fn writes_of_workloads_are_rejected_with_an_explanation() {
    let server = Server::start().await;
    let _web = server.proxy(dataplane("a", "web")).await;
    for path in [
        "/headcount.v1.WorkloadService/CreateWorkload",
        "/headcount.v1.WorkloadService/UpdateWorkload",
        "/headcount.v1.WorkloadService/PatchWorkload",
        "/headcount.v1.WorkloadService/ReplaceWorkload",
        "/headcount.v1.WorkloadService/ApplyWorkload",
        "/headcount.v1.WorkloadService/DeleteWorkload",
    ] {
        let status = call(server.channel(), path, &b"\x0a\x03web"[..]).await;
        let parts = ["managed automatically", "kuma.io/workload"];
        assert_status(&status, Code::PermissionDenied, &parts);
        assert_eq!(server.counts("web").await, (1, 0, 1), "{path}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let server = Server::start().await;
    for path in [
        "/headcount.v1.WorkloadService/Frobnicate",
        "/headcount.v1.DataplaneService/Connect",
        "/headcount.v2.WorkloadService/GetWorkload",
        "/",
    ] {
        let status = call(server.channel(), path, &b""[..]).await;
        assert_eq!((path, status.code()), (path, Code::Unimplemented));
        still_serves(&server).await;
    }
}
