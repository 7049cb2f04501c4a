//! The health service and reflection: what probes and `grpcurl` ask for.

use std::collections::BTreeSet;

use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{Server, soon, still_serves};

#[tokio::test]
async fn all_services_are_serving_and_no_others_are_known() {
    let server = Server::start().await;
    let mut client = HealthClient::new(server.channel());
    for service in
        ["", "headcount.v1.DataplaneService", "headcount.v1.WorkloadService", "headcount.v1.EventService"]
    {
        let service = service.to_owned();
        let answer = client.check(HealthCheckRequest { service }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let service = "headcount.v1.Nothing".to_owned();
    let unknown = client.check(HealthCheckRequest { service }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    still_serves(&server).await;
}

#[tokio::test]
async fn a_drain_is_seen_as_not_serving_before_the_stream_ends() {
    let server = Server::start().await;
    let mut watches = Vec::new();
    for service in ["", "headcount.v1.WorkloadService"] {
        let service = service.to_owned();
        let watch = HealthClient::new(server.channel()).watch(HealthCheckRequest { service }).await;
        let mut watch = watch.unwrap().into_inner();
        let first = soon("a status", watch.message()).await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving);
        watches.push(watch);
    }
    let drained = tokio::spawn(server.app.drain());
    for watch in &mut watches {
        let next = soon("a status", watch.message()).await.unwrap().unwrap();
        assert_eq!(next.status(), ServingStatus::NotServing);
        let end = soon("the end", watch.message()).await.unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
    }
    assert!(soon("the drain", drained).await.unwrap());
}

/// Beside the reflection that is asked, which names itself.
const SERVICES: [&str; 5] = [
    "envoy.service.health.v3.HealthDiscoveryService",
    "grpc.health.v1.Health",
    "headcount.v1.DataplaneService",
    "headcount.v1.EventService",
    "headcount.v1.WorkloadService",
];

#[tokio::test]
async fn reflection_lists_all_services() {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Server::start().await;
    let ask = |request| ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let asked = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("headcount.v1.WorkloadService".into())),
    ]);
    let answers = ServerReflectionClient::new(server.channel()).server_reflection_info(asked).await;
    let mut answers = answers.unwrap().into_inner();
    let mut next = async || soon("an answer", answers.message()).await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(listed)) = next().await else {
        panic!("not a list of services");
    };
    let names = listed.service.iter().map(|service| service.name.as_str());
    let itself = "grpc.reflection.v1.ServerReflection";
    let expected = SERVICES.into_iter().chain([itself]);
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.collect());
    let Some(MessageResponse::FileDescriptorResponse(file)) = next().await else {
        panic!("not a file");
    };
    assert!(!file.file_descriptor_proto[0].is_empty());
}

/// What `grpcurl` spoke until 2024.
#[tokio::test]
async fn the_older_reflection_lists_them_too() {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let server = Server::start().await;
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let asked = tokio_stream::iter([ask]);
    let answers = ServerReflectionClient::new(server.channel()).server_reflection_info(asked).await;
    let answer = soon("an answer", answers.unwrap().into_inner().message()).await;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.unwrap().unwrap().message_response
    else {
        panic!("not a list of services");
    };
    let names = listed.service.iter().map(|service| service.name.as_str());
    let itself = "grpc.reflection.v1alpha.ServerReflection";
    let expected = SERVICES.into_iter().chain([itself]);
    assert_eq!(names.collect::<BTreeSet<_>>(), expected.collect());
}
