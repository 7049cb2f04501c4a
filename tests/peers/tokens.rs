//! Tokens that are issued offline, with the real binary and grpcurl.

use std::path::PathBuf;

use serde_json::json;
use tokio::process::Command;

use crate::support::{Issuer, Program, Server, peer};

/// Calls a method of a server with a token.
fn call(server: &Server, grpcurl: &PathBuf, authorization: &str, method: &str, request: &str) -> Program {
    let mut command = Command::new(grpcurl);
    let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    command.args(["-plaintext", "-import-path", protos, "-proto", "headcount/v1/workload.proto"]);
    command.args([
        "-proto",
        "headcount/v1/dataplane.proto",
        "-H",
        &format!("authorization: {authorization}"),
    ]);
    command.args(["-d", request, &server.grpc.to_string(), method]);
    Program::start(&mut command)
}

const LIST: &str = "headcount.v1.WorkloadService/ListWorkloads";
const SESSION: &str = "headcount.v1.DataplaneService/Session";

#[tokio::test]
async fn a_token_gives_its_user_or_dataplane_what_it_may_do_and_no_more() {
    let Some(grpcurl) = peer("grpcurl") else { return };
    let issuer = Issuer::new().await;
    let access = issuer.access(&["use: dataplane\n  mesh: default", "use: user"]);
    let access = issuer.site.file("access.yaml", &access);
    let server = Server::start(&format!("--access-file {}", access.display())).await;
    let call = |token: &str, method, request: &str| call(&server, &grpcurl, token, method, request).end();

    let ops = issuer.token("user-token", "--name alice --group ops").await;
    call(&format!("Bearer {ops}"), LIST, "{}").await.expect_exit(0);
    call(&ops, LIST, "{}").await.expect_exit(0);
    let other = issuer.token("user-token", "--name bob --group dev").await;
    let denied = ["PermissionDenied", "\"bob\" has no permission to read workloads"];
    call(&other, LIST, "{}").await.expect_stderr(&denied);

    let web = issuer.token("dataplane-token", "--name web-1 --workload web").await;
    call(&web, LIST, "{}").await.expect_stderr(&["PermissionDenied", "dataplane default/*/web-1"]);
    let hello = |name: &str, mesh: &str, workload: &str| {
        let labels = json!({ "kuma.io/workload": workload });
        let dataplane = json!({ "mesh": mesh, "name": name, "labels": labels });
        json!({ "hello": { "dataplane": dataplane } }).to_string()
    };
    let welcome = call(&web, SESSION, &hello("web-1", "default", "web")).await.expect_exit(0);
    assert!(welcome.out.contains("welcome"), "{welcome}");
    for (request, problem) in [
        (
            hello("web-2", "default", "web"),
            "proxy name from requestor: web-2 is different than in token: web-1",
        ),
        (
            hello("web-1", "other", "web"),
            "proxy mesh from requestor: other is different than in token: default",
        ),
        (hello("web-1", "default", "api"), "dataplane workload \"api\" is not allowed with this token"),
    ] {
        call(&web, SESSION, &request).await.expect_stderr(&["PermissionDenied", problem]);
    }
    call("Bearer nonsense", LIST, "{}").await.expect_stderr(&["Unauthenticated", "token is malformed"]);
    let forged = format!("{}AAAA", &ops[..ops.len() - 4]);
    call(&forged, LIST, "{}").await.expect_stderr(&["Unauthenticated", "token signature is invalid"]);
}

#[tokio::test]
async fn a_session_and_a_watch_end_when_the_key_is_removed() {
    let Some(grpcurl) = peer("grpcurl") else { return };
    let issuer = Issuer::new().await;
    let access = issuer.site.file("access.yaml", &issuer.access(&["use: user"]));
    let server = Server::start(&format!("--access-file {}", access.display())).await;
    let ops = issuer.token("user-token", "--name alice --group ops").await;
    let watch = call(&server, &grpcurl, &ops, "headcount.v1.WorkloadService/WatchWorkloads", "{}");
    watch.wait_for_stdout("the first response", |out| out.contains("synced").then_some(())).await;
    issuer.site.file("access.yaml", "roleBindings: [{role: viewer, groups: [ops]}]");
    let ended = watch.end().await;
    ended.expect_stderr(&["Unauthenticated", "there is no signing key with KID 1"]);
}
