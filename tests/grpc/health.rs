//! The gRPC health service and server reflection, which probes and `grpcurl` use.

use std::collections::BTreeSet;

use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{Server, in_time, still_serves};

#[tokio::test]
async fn known_services_are_serving_and_unknown_ones_are_not_found() {
    let server = Server::start().await;
    let mut client = HealthClient::new(server.channel());
    for service in
        ["", "headcount.v1.DataplaneService", "headcount.v1.WorkloadService", "headcount.v1.EventService"]
    {
        let service = service.to_owned();
        let response = client.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(response.into_inner().status(), ServingStatus::Serving);
    }
    let service = "headcount.v1.Nothing".to_owned();
    let unknown = client.check(HealthCheckRequest { service }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_health_watch_reports_not_serving_before_a_drain_ends_it() {
    let server = Server::start().await;
    let mut watches = Vec::new();
    for service in ["", "headcount.v1.WorkloadService"] {
        let service = service.to_owned();
        let watch = HealthClient::new(server.channel()).watch(HealthCheckRequest { service }).await;
        let mut watch = watch.unwrap().into_inner();
        let first = in_time("a status", watch.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    let drained = tokio::spawn(server.app.drain());
    for watch in &mut watches {
        let next = in_time("a status", watch.message()).await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
        let end = in_time("the end", watch.message()).await.unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
    }
    assert!(in_time("the drain", drained).await.unwrap());
}

/// All services but the reflection service, which lists itself under the version that was called.
const SERVICES: [&str; 8] = [
    "envoy.service.health.v3.HealthDiscoveryService",
    "grpc.health.v1.Health",
    "headcount.v1.BackupService",
    "headcount.v1.DataplaneService",
    "headcount.v1.EventService",
    "headcount.v1.MeshIdentityService",
    "headcount.v1.TokenService",
    "headcount.v1.WorkloadService",
];

#[tokio::test]
async fn reflection_lists_all_services() {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Server::start().await;
    let request = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let requests = tokio_stream::iter([
        request(MessageRequest::ListServices(String::new())),
        request(MessageRequest::FileContainingSymbol("headcount.v1.WorkloadService".into())),
    ]);
    let responses = ServerReflectionClient::new(server.channel()).server_reflection_info(requests).await;
    let mut responses = responses.unwrap().into_inner();
    let mut next =
        async || in_time("a response", responses.message()).await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = next().await else {
        panic!("not a list of services");
    };
    let names = listed.service.iter().map(|service| service.name.as_str());
    let itself = "grpc.reflection.v1.ServerReflection";
    let expected = SERVICES.into_iter().chain([itself]);
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.collect());
    let Some(MessageResponse::FileDescriptorResponse(file)) = next().await else {
        panic!("not a file descriptor");
    };
    assert!(!file.file_descriptor_proto[0].is_empty());
}

/// `grpcurl` used v1alpha until 2024.
#[tokio::test]
async fn reflection_v1alpha_lists_all_services() {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Server::start().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::iter([request]);
    let responses = ServerReflectionClient::new(server.channel()).server_reflection_info(requests).await;
    let response = in_time("a response", responses.unwrap().into_inner().message()).await;
    let Some(MessageResponse::ListServicesResponse(listed)) = response.unwrap().unwrap().message_response
    else {
        panic!("not a list of services");
    };
    let names = listed.service.iter().map(|service| service.name.as_str());
    let itself = "grpc.reflection.v1alpha.ServerReflection";
    let expected = SERVICES.into_iter().chain([itself]);
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.collect());
}
