//! MeshIdentities with the real binary: they survive `kill -9` and are part of backups, and grpcurl reads them.

use serde_json::json;

use crate::support::{Grpcurl, Program, Proxy, Server, Signal, dataplane, headcount, hello, ready};

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/mesh-identities/demo-workload.yaml");
const SPIFFE_ID: &str = "spiffe://example.com/workload/demo-workload";

/// Asserts that the dataplane has its SPIFFE ID.
async fn assert_identified(server: &Server) {
    let wide = server.run("get dataplanes -o wide").await.expect_exit(0);
    assert!(wide.out.contains(SPIFFE_ID), "{wide}");
}

#[tokio::test]
async fn mesh_identities_survive_a_kill_and_are_part_of_backups() {
    let mut server = Server::start_durable("").await;
    let applied = server.run(&format!("apply -f {EXAMPLE}")).await.expect_exit(0);
    assert_eq!(applied.out, "meshidentity workload-identity created\n");
    assert_eq!(applied.err, "");
    server.restart(Signal::KILL).await;
    let hello = hello(dataplane("default", "demo-workload", "demo-1"));
    let _proxy = Proxy::open(server.connect().await, [hello, ready()]).await;
    server.run("wait workload demo-workload --healthy 1").await.expect_exit(0);
    assert_identified(&server).await;

    let [backup, restored] = ["backup", "restored"].map(|name| server.site.path(name));
    server.run(&format!("backup --output {}", backup.display())).await.expect_exit(0);
    server.run("delete meshidentity workload-identity").await.expect_exit(0);
    let none = server.run("get dataplanes -o wide").await.expect_exit(0);
    assert!(!none.out.contains("spiffe://"), "{none}");
    for arguments in [
        format!("restore --data-dir {} {}", restored.display(), backup.display()),
        format!("store verify --data-dir {}", restored.display()),
    ] {
        Program::start(&mut headcount(&arguments)).end().await.expect_exit(0);
    }
    let restored = Server::start(&format!("--data-dir {}", restored.display())).await;
    let listed = restored.run("get meshidentities").await.expect_exit(0);
    assert!(listed.out.contains("workload-identity"), "{listed}");
}

#[tokio::test]
async fn grpcurl_applies_a_mesh_identity_and_gets_all_violations() {
    let Some(grpcurl) = Grpcurl::find() else { return };
    let server = Server::start("").await;
    let grpcurl = grpcurl(&server);
    let apply = "MeshIdentityService/ApplyMeshIdentity";
    let spec = json!({
        "selector": { "dataplane": {} },
        "spiffeID": { "trustDomain": "example.com", "path": "/x" },
    });
    let valid = |version: &str| json!({ "meshIdentity": { "name": "web", "spec": spec, "resourceVersion": version } });
    let applied = grpcurl.response(apply, &valid("")).await;
    assert_eq!(applied["change"], "CHANGE_CREATED", "{applied}");
    let identity = &applied["meshIdentity"];
    assert_eq!((&identity["spec"], &identity["generation"]), (&spec, &json!("1")), "{applied}");
    assert_eq!(identity["conditions"][1]["reason"], "PartiallyReady", "{applied}");
    let invalid = json!({ "meshIdentity": { "name": "Web", "spec": { "spiffeID": { "path": "x" } } } });
    let rejected = grpcurl.error(apply, &invalid).await;
    for part in ["Code: InvalidArgument", "name: \"Web\": must be", "spec.spiffeID.path: template renders to"]
    {
        assert!(rejected.err.contains(part), "{part}: {rejected}");
    }
    let rejected = grpcurl.error(apply, &valid("999")).await;
    assert!(rejected.err.contains("Code: Aborted"), "{rejected}");
}
