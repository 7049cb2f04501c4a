//! grpcurl without proto files: reflection and health.

use serde_json::{Value, json};

use crate::support::{Grpcurl, Server};

const OURS: [&str; 4] = [
    "headcount.v1.DataplaneService",
    "headcount.v1.BackupService",
    "headcount.v1.EventService",
    "headcount.v1.WorkloadService",
];

#[tokio::test]
async fn grpcurl_lists_and_describes_the_services() {
    let Some(grpcurl) = Grpcurl::find() else { return };
    let server = Server::start("").await;
    let grpcurl = grpcurl(&server);
    let listed = grpcurl.start(&[], &["list"]).end().await.expect_exit(0);
    for service in OURS.into_iter().chain(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]) {
        assert!(listed.out.lines().any(|line| line == service), "{service}: {listed}");
    }
    let described =
        grpcurl.start(&[], &["describe", "headcount.v1.WorkloadService"]).end().await.expect_exit(0);
    for rpc in ["GetWorkload", "ListWorkloads", "WatchWorkloads", "WaitForWorkload"] {
        assert!(described.out.contains(&format!("rpc {rpc} ( .headcount.v1.{rpc}Request )")), "{described}");
    }
    for service in [OURS[0], "headcount.v1.Workload", "headcount.v1.DataplaneService.Session"] {
        grpcurl.start(&[], &["describe", service]).end().await.expect_exit(0);
    }
}

/// Older tools use v1alpha only. grpcurl prefers v1, so this test makes it call v1alpha explicitly, with
/// descriptors from a file.
#[tokio::test]
async fn reflection_supports_v1alpha() {
    let Some(grpcurl) = Grpcurl::find() else { return };
    let server = Server::start("").await;
    let descriptors = server.site.path("v1alpha.bin");
    std::fs::write(&descriptors, tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET).unwrap();
    let descriptors = descriptors.display().to_string();
    let request = json!({ "list_services": "*" }).to_string();
    let response = grpcurl(&server)
        .start(
            &["-use-reflection=false", "-protoset", &descriptors, "-d", &request],
            &["grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"],
        )
        .end()
        .await
        .expect_exit(0);
    let response: Value = serde_json::from_str(&response.out).unwrap();
    let services = response["listServicesResponse"]["service"].as_array().unwrap();
    for service in OURS {
        assert!(services.iter().any(|listed| listed["name"] == service), "{service}: {response}");
    }
}

#[tokio::test]
async fn all_services_are_serving() {
    let Some(grpcurl) = Grpcurl::find() else { return };
    let server = Server::start("").await;
    let grpcurl = grpcurl(&server);
    for service in OURS.into_iter().chain([""]) {
        let request = json!({ "service": service }).to_string();
        let call = grpcurl.start(&["-d", &request], &["grpc.health.v1.Health/Check"]);
        let response: Value = serde_json::from_str(&call.end().await.expect_exit(0).out).unwrap();
        assert_eq!(response["status"], "SERVING", "{service}");
    }
}
