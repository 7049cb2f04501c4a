//! headcount's reduced copy of Envoy's API agrees with the full one of envoy-types: messages of a real Envoy
//! decode to the same fields, and the specifier encodes to the same bytes.

mod messages;

use bytes::Bytes;
use envoy_types::pb::envoy::{
    config::core::v3::{Node as TheirNode, node::UserAgentVersionType},
    service::health::v3::{
        HealthCheckRequestOrEndpointHealthResponse as TheirMessage, HealthCheckSpecifier as TheirSpecifier,
        health_check_request_or_endpoint_health_response::RequestType as TheirRequest,
    },
};
use headcount::{
    envoy::{
        checks::CheckSettings,
        node::{self, Proxy},
        stream_health::StreamHealth,
    },
    model::{DataplaneLimits, HealthState},
    proto::envoy::service::health::v3::{
        HealthCheckRequestOrEndpointHealthResponse,
        health_check_request_or_endpoint_health_response::RequestType,
    },
};
use prost::Message as _;
use tokio::time::Instant;

fn proxy() -> Proxy {
    Proxy::parse(&node::read(messages::FIRST).unwrap(), DataplaneLimits::default()).unwrap()
}

#[test]
fn both_decode_the_same_node_from_a_real_first_message() {
    let ours = node::read(messages::FIRST).unwrap();
    let theirs = match TheirMessage::decode(messages::FIRST).unwrap().request_type.unwrap() {
        TheirRequest::HealthCheckRequest(request) => request.node.unwrap(),
        TheirRequest::EndpointHealthResponse(_) => panic!("not a node"),
    };
    let TheirNode { id, cluster, metadata, locality, user_agent_name, extensions, .. } = theirs;
    assert_eq!(extensions.len(), 516);
    assert_eq!((ours.id, ours.cluster, ours.user_agent_name), (id, cluster, user_agent_name));
    // envoy-types keeps a struct's entries in a map without order.
    let metadata = prost_types::Struct::decode(&metadata.unwrap().encode_to_vec()[..]).unwrap();
    assert!(metadata.fields.contains_key("inbounds"));
    assert_eq!(ours.metadata.unwrap(), metadata);
    let (our_locality, locality) = (ours.locality.unwrap(), locality.unwrap());
    assert_eq!(
        (our_locality.region, our_locality.zone, our_locality.sub_zone),
        (locality.region, locality.zone, locality.sub_zone)
    );
    let Some(UserAgentVersionType::UserAgentBuildVersion(build)) = theirs.user_agent_version_type else {
        panic!("no version")
    };
    let (ours, theirs) = (ours.user_agent_build_version.unwrap().version.unwrap(), build.version.unwrap());
    assert_eq!(
        (ours.major_number, ours.minor_number, ours.patch),
        (theirs.major_number, theirs.minor_number, theirs.patch)
    );
}

#[test]
fn a_real_first_message_is_a_valid_dataplane() {
    let Proxy { dataplane, checks } = proxy();
    assert_eq!(dataplane.key.to_string(), "default/default/dp-1");
    assert_eq!(dataplane.workload.unwrap().as_str(), "backend");
    assert_eq!(&*dataplane.agent_version, "envoy/1.40.0");
    let targets: Vec<_> = checks.iter().map(|check| check.target.to_string()).collect();
    assert_eq!(targets, ["headcount:inbound:18001", "headcount:inbound:18002", "headcount:ready"]);
}

/// envoy-types drops unknown fields, so equal bytes show that it knows all fields of the specifier.
#[test]
fn envoy_types_reencodes_a_specifier_unchanged() {
    let ours = proxy().checks.specifier(&CheckSettings::default()).encode_to_vec();
    let theirs = TheirSpecifier::decode(&ours[..]).unwrap();
    assert_eq!(theirs.cluster_health_checks.len(), 3);
    assert_eq!(theirs.encode_to_vec(), ours);
}

/// Name, status and presence of metadata of each cluster in a report of either library.
macro_rules! clusters {
    ($report:expr) => {
        $report
            .cluster_endpoints_health
            .iter()
            .map(|cluster| {
                let endpoint = &cluster.locality_endpoints_health[0].endpoints_health[0];
                (cluster.cluster_name.clone(), endpoint.health_status, endpoint.health_metadata.is_some())
            })
            .collect::<Vec<_>>()
    };
}

#[test]
fn both_decode_the_same_clusters_from_a_real_report() {
    let ours = HealthCheckRequestOrEndpointHealthResponse::decode(messages::REPORT).unwrap().request_type;
    let Some(RequestType::EndpointHealthResponse(ours)) = ours else { panic!("not a report") };
    let theirs = TheirMessage::decode(messages::REPORT).unwrap().request_type;
    let Some(TheirRequest::EndpointHealthResponse(theirs)) = theirs else { panic!("not a report") };
    let (ours, theirs) = (clusters!(ours), clusters!(theirs));
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 3);
}

#[test]
fn a_real_report_is_converted_to_health() {
    let now = Instant::now();
    let mut stream = StreamHealth::new(&proxy().checks, &CheckSettings::default(), now);
    let health = stream.report(Bytes::from_static(messages::REPORT), now).unwrap().unwrap();
    assert_eq!(health.proxy, HealthState::Ready);
    assert_eq!([0, 1].map(|at| health.inbound(at)), [HealthState::Ready; 2]);
}
