//! Workloads are made by headcount alone: whoever tries to create, change or
//! delete one hears who manages them.

use tonic::Code;

use crate::{
    raw::call,
    support::{Server, assert_says, dataplane, still_serves},
};

#[tokio::test]
async fn nobody_creates_changes_or_deletes_a_workload() {
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
        let words = ["managed automatically", "kuma.io/workload"];
        assert_says(&status, Code::PermissionDenied, &words);
        assert_eq!(server.counts("web").await, (1, 0, 1), "{path}");
    }
    still_serves(&server).await;
}

#[tokio::test]
async fn a_method_that_nobody_ever_had_is_unimplemented() {
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
