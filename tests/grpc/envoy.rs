//! The health discovery service (HDS), with a client that sends what an Envoy sends. `tests/envoy` runs
//! real Envoys.

use std::{collections::BTreeMap, time::Duration};

use headcount::{
    envoy::checks::Interval,
    proto::{
        ListEventsRequest,
        envoy::{
            config::core::v3::{HealthStatus, Node},
            service::health::v3::{
                ClusterEndpointsHealth, EndpointHealth, EndpointHealthResponse, HealthCheckRequest,
                HealthCheckRequestOrEndpointHealthResponse as Message, HealthCheckSpecifier,
                LocalityEndpointsHealth,
                health_check_request_or_endpoint_health_response::RequestType as Request,
                health_discovery_service_client::HealthDiscoveryServiceClient,
            },
        },
    },
};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::{Server, assert_status, dataplane, in_time, still_serves};

/// The Envoy's side of an HDS stream.
struct Envoy {
    requests: mpsc::UnboundedSender<Message>,
    responses: Streaming<HealthCheckSpecifier>,
}

impl Envoy {
    async fn open(channel: Channel) -> Self {
        Self::try_open(channel).await.expect("a stream")
    }

    async fn try_open(channel: Channel) -> Result<Self, Status> {
        let (requests, stream) = mpsc::unbounded_channel();
        let mut client = HealthDiscoveryServiceClient::new(channel);
        let responses =
            in_time("a stream", client.stream_health_check(UnboundedReceiverStream::new(stream))).await?;
        Ok(Self { requests, responses: responses.into_inner() })
    }

    /// Sends its node, and returns the checks that the server asks for.
    async fn connect(server: &Server, node: Node) -> (Self, HealthCheckSpecifier) {
        let mut envoy = Self::open(server.connect().await).await;
        envoy.send(identify(node));
        let specifier = in_time("a specifier", envoy.responses.message()).await;
        let specifier = specifier.expect("a specifier, no error").expect("a specifier, no end");
        (envoy, specifier)
    }

    fn send(&self, request: Request) {
        // If the server has ended the stream, the test reads its status.
        let _ended = self.requests.send(Message { request_type: Some(request) });
    }

    /// Reports this status of its one inbound.
    fn report(&self, status: HealthStatus) {
        let endpoint = EndpointHealth { health_status: status.into(), ..EndpointHealth::default() };
        let cluster = ClusterEndpointsHealth {
            cluster_name: "headcount:inbound:8080".into(),
            locality_endpoints_health: vec![LocalityEndpointsHealth { endpoints_health: vec![endpoint] }],
        };
        self.send(Request::EndpointHealthResponse(EndpointHealthResponse {
            cluster_endpoints_health: vec![cluster],
        }));
    }

    /// Returns the status of the stream, which must end without another response.
    async fn end(&mut self) -> Status {
        match in_time("the end of the stream", self.responses.message()).await {
            Ok(None) => Status::new(Code::Ok, ""),
            Ok(Some(specifier)) => panic!("expected the end of the stream, got {specifier:?}"),
            Err(status) => status,
        }
    }
}

fn identify(node: Node) -> Request {
    Request::HealthCheckRequest(HealthCheckRequest { node: Some(node) })
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

/// A node in mesh and namespace `default` with inbound 8080, like
/// [`dataplane`](crate::support::dataplane).
fn node(name: &str, workload: &str) -> Node {
    let port = Value { kind: Some(Kind::NumberValue(8080.0)) };
    let inbound = Struct { fields: BTreeMap::from([("port".into(), port)]) };
    let inbound = Value { kind: Some(Kind::StructValue(inbound)) };
    let inbounds = Value { kind: Some(Kind::ListValue(ListValue { values: vec![inbound] })) };
    let fields = [
        ("kuma.io/mesh".into(), text("default")),
        ("kuma.io/workload".into(), text(workload)),
        ("inbounds".into(), inbounds),
    ];
    Node { id: name.into(), metadata: Some(Struct { fields: fields.into() }), ..Node::default() }
}

#[tokio::test]
async fn an_envoy_gets_its_checks_and_is_counted_by_their_results() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let (mut envoy, specifier) = Envoy::connect(&server, node("a", "web")).await;
    let clusters: Vec<_> = specifier.cluster_health_checks.iter().map(|c| c.cluster_name.as_str()).collect();
    assert_eq!(clusters, ["headcount:inbound:8080"]);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1));
    // A report before the first check has completed is ignored.
    envoy.report(HealthStatus::Unhealthy);
    envoy.report(HealthStatus::Healthy);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    envoy.report(HealthStatus::Healthy);
    envoy.report(HealthStatus::Timeout);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1));
    // Changes are throttled: this one is published after the flap interval.
    envoy.report(HealthStatus::Healthy);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    // An Envoy sends no goodbye; its stream just ends.
    envoy.responses = Envoy::open(server.connect().await).await.responses;
    drop(envoy);
    watch.next().await;
    assert_eq!(watch.counts("web"), (0, 0, 1));
    still_serves(&server).await;
}

#[tokio::test]
async fn an_envoy_and_an_agent_take_over_from_each_other() {
    let server = Server::start().await;
    let mut agent = server.proxy(dataplane("a", "web")).await;
    agent.ready().await;
    let mut other = server.proxy(dataplane("b", "web")).await;
    other.ready().await;
    let parts = ["a newer session of this dataplane took over"];

    let (mut envoy, _) = Envoy::connect(&server, node("a", "web")).await;
    assert_status(&agent.stream.end().await, Code::Aborted, &parts);
    assert_eq!(server.counts("web").await, (2, 1, 2));
    envoy.report(HealthStatus::Healthy);
    server.wait_for_counts("web", (2, 2, 2)).await;

    let mut agent = server.proxy(dataplane("a", "web")).await;
    assert_status(&envoy.end().await, Code::Aborted, &parts);
    assert_eq!(server.counts("web").await, (2, 1, 2));
    agent.ready().await;
    assert_eq!(server.counts("web").await, (2, 2, 2));
    still_serves(&server).await;
}

#[tokio::test]
async fn a_rejected_envoy_causes_one_event_with_a_count() {
    let server = Server::start().await;
    let mut invalid = node("a.shop", "web");
    let fields = &mut invalid.metadata.as_mut().unwrap().fields;
    fields.insert("kuma.io/workload".into(), text("No_Name"));
    for _ in 0..2 {
        let mut envoy = Envoy::open(server.connect().await).await;
        envoy.send(identify(invalid.clone()));
        let parts = ["node.metadata.kuma.io/workload", "\"No_Name\"", "DNS-1035"];
        assert_status(&envoy.end().await, Code::InvalidArgument, &parts);
    }
    let events = server.events().list_events(ListEventsRequest::default()).await.unwrap().into_inner().events;
    let [event] = &events[..] else { panic!("one event: {events:?}") };
    let seen = (event.reason.as_str(), event.dataplane.as_str(), event.count);
    assert_eq!(seen, ("DataplaneRefused", "a.shop", 2));
    assert!(event.message.starts_with("node.metadata.kuma.io/workload: "), "{}", event.message);
    let of_a_workload = ListEventsRequest { workload: "web".into(), ..ListEventsRequest::default() };
    let events = server.events().list_events(of_a_workload).await.unwrap().into_inner().events;
    assert_eq!(events, []);
    still_serves(&server).await;
}

#[tokio::test]
async fn an_invalid_stream_ends_with_the_reason() {
    let server = Server::with(|config| config.limits.hello_timeout = Duration::from_millis(300)).await;
    let mut silent = Envoy::open(server.connect().await).await;
    assert_status(&silent.end().await, Code::DeadlineExceeded, &["no node within 300ms"]);

    let mut without_node = Envoy::open(server.connect().await).await;
    without_node.report(HealthStatus::Healthy);
    assert_status(&without_node.end().await, Code::InvalidArgument, &["health_check_request", "is required"]);

    let (mut twice, _) = Envoy::connect(&server, node("a", "web")).await;
    twice.send(identify(node("a", "web")));
    let parts = ["health_check_request: was sent already"];
    assert_status(&twice.end().await, Code::FailedPrecondition, &parts);
    server.wait_for_metric(r#"headcount_sessions_ended_total{reason="refused"}"#, 1).await;

    let mut large = node("b", "web");
    large.metadata.as_mut().unwrap().fields.insert("large".into(), text(&"x".repeat(256 * 1024)));
    let mut envoy = Envoy::open(server.connect().await).await;
    envoy.send(identify(large));
    assert_status(&envoy.end().await, Code::InvalidArgument, &["message: ", "too large"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn an_envoy_that_sends_no_reports_is_lost() {
    let server = Server::start().await;
    let (mut envoy, _) = Envoy::connect(&server, node("a", "web")).await;
    envoy.report(HealthStatus::Healthy);
    server.wait_for_counts("web", (1, 1, 1)).await;
    assert_status(&envoy.end().await, Code::DeadlineExceeded, &["within 2s"]);
    assert_eq!(server.counts("web").await, (0, 0, 1));
    server.wait_for_metric(r#"headcount_sessions_ended_total{reason="idle"}"#, 1).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn the_idle_timeout_of_an_envoy_follows_its_report_interval() {
    let interval = Interval::try_from(Duration::from_secs(1)).unwrap();
    let server = Server::with(|config| config.envoy.report_interval = interval).await;
    let (mut envoy, specifier) = Envoy::connect(&server, node("a", "web")).await;
    assert_eq!(specifier.interval, Some(prost_types::Duration { seconds: 1, nanos: 0 }));
    envoy.report(HealthStatus::Healthy);
    assert_status(&envoy.end().await, Code::DeadlineExceeded, &["within 3s"]);
}

#[tokio::test]
async fn envoys_are_rejected_at_the_session_rate_and_disconnected_by_a_drain() {
    let server = Server::with(|config| config.registry.max_session_rate = 2).await;
    let (mut envoy, _) = Envoy::connect(&server, node("a", "web")).await;
    let (other, _) = Envoy::connect(&server, node("a", "web")).await;
    let rejected = Envoy::try_open(server.connect().await).await.err().expect("a rejection");
    assert_status(&rejected, Code::ResourceExhausted, &["max-session-rate"]);
    let series = r#"headcount_shed_total{limit="max-session-rate"}"#;
    assert_eq!(server.scrape().await.value(series), Some(1));
    assert_eq!(envoy.end().await.code(), Code::Aborted);
    let mut envoy = other;
    let drained = tokio::spawn(server.app.drain());
    assert_status(&envoy.end().await, Code::Unavailable, &["the server is draining"]);
    assert!(in_time("the drain", drained).await.unwrap());
}
