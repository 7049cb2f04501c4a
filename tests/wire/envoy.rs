//! Envoys that report, as far as their words go; `tests/envoy` has real ones.

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
                health_check_request_or_endpoint_health_response::RequestType as Said,
                health_discovery_service_client::HealthDiscoveryServiceClient,
            },
        },
    },
};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::{Server, assert_says, dataplane, soon, still_serves};

/// An Envoy's side of a stream.
struct Envoy {
    say: mpsc::UnboundedSender<Message>,
    hear: Streaming<HealthCheckSpecifier>,
}

impl Envoy {
    async fn open(channel: Channel) -> Self {
        Self::try_open(channel).await.expect("a stream")
    }

    async fn try_open(channel: Channel) -> Result<Self, Status> {
        let (say, said) = mpsc::unbounded_channel();
        let mut client = HealthDiscoveryServiceClient::new(channel);
        let hear = soon("a stream", client.stream_health_check(UnboundedReceiverStream::new(said))).await?;
        Ok(Self { say, hear: hear.into_inner() })
    }

    /// Says who it is, and hears what to check.
    async fn start(server: &Server, node: Node) -> (Self, HealthCheckSpecifier) {
        let mut envoy = Self::open(server.connect().await).await;
        envoy.say(who(node));
        let specifier = soon("a specifier", envoy.hear.message()).await;
        let specifier = specifier.expect("no status").expect("no end");
        (envoy, specifier)
    }

    fn say(&self, said: Said) {
        // If the server has ended the stream, what it says will tell.
        let _ended = self.say.send(Message { request_type: Some(said) });
    }

    /// Says this of its one inbound.
    fn report(&self, status: HealthStatus) {
        let endpoint = EndpointHealth { health_status: status.into(), ..EndpointHealth::default() };
        let cluster = ClusterEndpointsHealth {
            cluster_name: "headcount:inbound:8080".into(),
            locality_endpoints_health: vec![LocalityEndpointsHealth { endpoints_health: vec![endpoint] }],
        };
        self.say(Said::EndpointHealthResponse(EndpointHealthResponse {
            cluster_endpoints_health: vec![cluster],
        }));
    }

    /// How the stream ends, which must be the next thing that happens.
    async fn end(&mut self) -> Status {
        match soon("the end", self.hear.message()).await {
            Ok(None) => Status::new(Code::Ok, ""),
            Ok(Some(specifier)) => panic!("not the end, but {specifier:?}"),
            Err(status) => status,
        }
    }
}

fn who(node: Node) -> Said {
    Said::HealthCheckRequest(HealthCheckRequest { node: Some(node) })
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.into())) }
}

/// In mesh and namespace `default`, with the inbound 8080, as
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
async fn an_envoy_is_told_what_to_check_and_counts_by_what_it_finds() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let (mut envoy, specifier) = Envoy::start(&server, node("a", "web")).await;
    let clusters: Vec<_> = specifier.cluster_health_checks.iter().map(|c| c.cluster_name.as_str()).collect();
    assert_eq!(clusters, ["headcount:inbound:8080"]);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1));
    // Said before the first check has ended, it says nothing.
    envoy.report(HealthStatus::Unhealthy);
    envoy.report(HealthStatus::Healthy);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    envoy.report(HealthStatus::Healthy);
    envoy.report(HealthStatus::Timeout);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1));
    // Flapping is paced: this one is shown when its time has come.
    envoy.report(HealthStatus::Healthy);
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    // An Envoy says no goodbye.
    envoy.hear = Envoy::open(server.connect().await).await.hear;
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
    let words = ["a newer session of this dataplane took over"];

    let (mut envoy, _) = Envoy::start(&server, node("a", "web")).await;
    assert_says(&agent.line.end().await, Code::Aborted, &words);
    assert_eq!(server.counts("web").await, (2, 1, 2));
    envoy.report(HealthStatus::Healthy);
    server.until_counts("web", (2, 2, 2)).await;

    let mut agent = server.proxy(dataplane("a", "web")).await;
    assert_says(&envoy.end().await, Code::Aborted, &words);
    assert_eq!(server.counts("web").await, (2, 1, 2));
    agent.ready().await;
    assert_eq!(server.counts("web").await, (2, 2, 2));
    still_serves(&server).await;
}

#[tokio::test]
async fn an_envoy_that_is_not_let_in_is_told_of_in_an_event() {
    let server = Server::start().await;
    let mut wrong = node("a.shop", "web");
    let fields = &mut wrong.metadata.as_mut().unwrap().fields;
    fields.insert("kuma.io/workload".into(), text("No_Name"));
    for _ in 0..2 {
        let mut envoy = Envoy::open(server.connect().await).await;
        envoy.say(who(wrong.clone()));
        let words = ["node.metadata.kuma.io/workload", "\"No_Name\"", "DNS-1035"];
        assert_says(&envoy.end().await, Code::InvalidArgument, &words);
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
async fn what_is_no_conversation_is_ended_with_the_reason() {
    let server = Server::with(|config| config.limits.hello_timeout = Duration::from_millis(300)).await;
    let mut mute = Envoy::open(server.connect().await).await;
    assert_says(&mute.end().await, Code::DeadlineExceeded, &["no node within 300ms"]);

    let mut hasty = Envoy::open(server.connect().await).await;
    hasty.report(HealthStatus::Healthy);
    assert_says(&hasty.end().await, Code::InvalidArgument, &["health_check_request", "is required"]);

    let (mut twice, _) = Envoy::start(&server, node("a", "web")).await;
    twice.say(who(node("a", "web")));
    let words = ["health_check_request: was said already"];
    assert_says(&twice.end().await, Code::FailedPrecondition, &words);
    server.until_metric(r#"headcount_sessions_ended_total{reason="refused"}"#, 1).await;

    let mut large = node("b", "web");
    large.metadata.as_mut().unwrap().fields.insert("large".into(), text(&"x".repeat(256 * 1024)));
    let mut envoy = Envoy::open(server.connect().await).await;
    envoy.say(who(large));
    assert_says(&envoy.end().await, Code::InvalidArgument, &["message: ", "too large"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn an_envoy_that_misses_its_reports_is_lost() {
    let server = Server::start().await;
    let (mut envoy, _) = Envoy::start(&server, node("a", "web")).await;
    envoy.report(HealthStatus::Healthy);
    server.until_counts("web", (1, 1, 1)).await;
    assert_says(&envoy.end().await, Code::DeadlineExceeded, &["no health report within 2s"]);
    assert_eq!(server.counts("web").await, (0, 0, 1));
    server.until_metric(r#"headcount_sessions_ended_total{reason="idle"}"#, 1).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn of_an_envoy_that_reports_seldom_nobody_expects_more() {
    let seldom = Interval::try_from(Duration::from_secs(1)).unwrap();
    let server = Server::with(|config| config.envoy.report_interval = seldom).await;
    let (mut envoy, specifier) = Envoy::start(&server, node("a", "web")).await;
    assert_eq!(specifier.interval, Some(prost_types::Duration { seconds: 1, nanos: 0 }));
    envoy.report(HealthStatus::Healthy);
    assert_says(&envoy.end().await, Code::DeadlineExceeded, &["no health report within 3s"]);
}

#[tokio::test]
async fn envoys_are_shed_before_they_are_read_and_sent_away_at_a_drain() {
    let server = Server::with(|config| config.registry.max_session_rate = 2).await;
    let (mut envoy, _) = Envoy::start(&server, node("a", "web")).await;
    let (other, _) = Envoy::start(&server, node("a", "web")).await;
    let shed = Envoy::try_open(server.connect().await).await.err().expect("nobody is let in");
    assert_says(&shed, Code::ResourceExhausted, &["max-session-rate"]);
    let series = r#"headcount_shed_total{limit="max-session-rate"}"#;
    assert_eq!(server.scrape().await.value(series), Some(1));
    assert_eq!(envoy.end().await.code(), Code::Aborted);
    let mut envoy = other;
    let drained = tokio::spawn(server.app.drain());
    assert_says(&envoy.end().await, Code::Unavailable, &["the server is draining"]);
    assert!(soon("the drain", drained).await.unwrap());
}
