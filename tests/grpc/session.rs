//! Valid sessions: what the server responds, and how each way to end one is counted.

use headcount::proto::{
    HealthReport, HealthState, InboundHealth, ListDataplanesRequest, SessionRequest, WorkloadRef,
    session_request::Message as Request,
};
use prost::Message as _;

use crate::{
    proxy::{Proxy, health, hello},
    raw,
    support::{Server, dataplane, in_time, inbound, still_serves},
};

#[tokio::test]
async fn the_welcome_has_the_session_id_and_the_workload() {
    let server = Server::start().await;
    let mut in_shop = dataplane("a", "web");
    in_shop.namespace = "shop".into();
    let proxy = server.proxy(in_shop).await;
    let workload = WorkloadRef { name: "web".into(), namespace: "shop".into(), mesh: "default".into() };
    assert_eq!(proxy.welcome.workload, Some(workload));
    assert_eq!(proxy.welcome.warnings, [""; 0]);

    let listed = server.dataplanes().list_dataplanes(ListDataplanesRequest::default()).await;
    let seen = &listed.unwrap().into_inner().dataplanes[0];
    assert!(!seen.session_id.is_empty());
    assert_eq!(seen.session_id, proxy.welcome.session_id);
    assert_eq!(seen.agent_version, "test");
}

#[tokio::test]
async fn a_welcome_warns_of_labels_that_are_nearly_those_of_kuma() {
    let server = Server::start().await;
    let mut misspelt = dataplane("a", "web");
    misspelt.labels.insert("kuma.io/worklaod".into(), "api".into());
    misspelt.inbounds[0].tags.insert("kuma.io/protocl".into(), "http".into());
    let proxy = server.proxy(misspelt).await;
    assert_eq!(
        proxy.welcome.warnings,
        [
            r#"labels["kuma.io/worklaod"]: is not a label of Kuma: did you mean kuma.io/workload?"#,
            r#"inbounds[0].tags["kuma.io/protocl"]: is not a label of Kuma: did you mean kuma.io/protocol?"#,
        ]
    );
}

#[tokio::test]
async fn a_namespace_and_a_zone_may_be_stated_by_labels() {
    let server = Server::start().await;
    let mut labelled = dataplane("a", "web");
    labelled.labels.insert("k8s.kuma.io/namespace".into(), "shop".into());
    labelled.labels.insert("kuma.io/zone".into(), "east".into());
    let proxy = server.proxy(labelled).await;
    assert_eq!(proxy.welcome.workload.as_ref().map(|workload| workload.namespace.as_str()), Some("shop"));
    assert_eq!(server.list().await.workloads[0].labels["kuma.io/zone"], "east");
}

#[tokio::test]
async fn a_dataplane_without_the_label_is_admitted_without_a_workload() {
    let server = Server::start().await;
    let mut unlabelled = dataplane("a", "web");
    unlabelled.labels.clear();
    let mut proxy = server.proxy(unlabelled).await;
    assert_eq!(proxy.welcome.workload, None);
    proxy.ready().await;
    assert_eq!(server.list().await.workloads, []);
    still_serves(&server).await;
}

#[tokio::test]
async fn reports_are_acked_in_order_after_they_are_counted() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    for (sequence, state, healthy) in [
        (1, HealthState::Ready, 1),
        (2, HealthState::NotReady, 0),
        (17, HealthState::Ready, 1),
        (u64::from(u32::MAX) + 1, HealthState::Unspecified, 0),
    ] {
        proxy.stream.send(health(sequence, state));
        proxy.expect_ack(sequence).await;
        assert_eq!(server.counts("web").await, (1, healthy, 1));
    }
}

/// A gateway has no inbounds, so the state of its proxy decides.
#[tokio::test]
async fn a_gateway_is_healthy_when_its_proxy_is_ready() {
    let server = Server::start().await;
    let mut without_inbounds = dataplane("a", "edge");
    without_inbounds.inbounds.clear();
    let mut gateway = server.proxy(without_inbounds).await;
    let mut report = HealthReport { sequence: 1, proxy: HealthState::Ready.into(), inbounds: vec![] };
    gateway.stream.send(Request::Health(report.clone()));
    gateway.expect_ack(1).await;
    assert_eq!(server.counts("edge").await, (1, 1, 1));
    report.sequence = 2;
    report.proxy = HealthState::NotReady.into();
    gateway.stream.send(Request::Health(report));
    gateway.expect_ack(2).await;
    assert_eq!(server.counts("edge").await, (1, 0, 1));
}

#[tokio::test]
async fn a_goodbye_removes_the_dataplane_and_its_empty_workload_at_once() {
    let server = Server::start().await;
    let (mut a, b) = (server.proxy(dataplane("a", "web")).await, server.proxy(dataplane("b", "web")).await);
    a.ready().await;
    assert_eq!(server.counts("web").await, (2, 1, 2));
    a.goodbye().await;
    assert_eq!(server.counts("web").await, (1, 0, 1));
    b.goodbye().await;
    assert_eq!(server.list().await.workloads, []);
}

#[tokio::test]
async fn a_half_closed_stream_is_a_loss() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    proxy.ready().await;
    let mut stream = proxy.stream;
    drop(stream.requests);
    let end = in_time("the end of the stream", stream.responses.message()).await;
    assert_eq!(end.unwrap(), None);
    assert_eq!(server.counts("web").await, (0, 0, 1));
    server.wait_for_metric(r#"headcount_sessions_ended_total{reason="lost"}"#, 1).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn a_reset_stream_is_a_loss() {
    let server = Server::start().await;
    let message = Some(hello(dataplane("a", "web")));
    let hello = SessionRequest { message }.encode_to_vec();
    let path = "/headcount.v1.DataplaneService/Session";
    let mut watch = server.watch().await;
    let stream = raw::open_stream(server.connect().await, path, &hello).await;
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1));
    stream.reset();
    watch.next().await;
    assert_eq!(watch.counts("web"), (0, 0, 1));
    let lost = r#"headcount_sessions_ended_total{reason="lost"}"#;
    server.wait_for_metric(lost, 1).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn a_closed_connection_loses_all_its_sessions_and_they_can_reconnect() {
    let server = Server::start().await;
    let channel = server.connect().await;
    let names: Vec<_> = (0..5).map(|n| format!("p{n}")).collect();
    let mut proxies = Vec::new();
    for name in &names {
        let mut proxy = Proxy::connect(channel.clone(), dataplane(name, "web")).await;
        proxy.ready().await;
        proxies.push(proxy);
    }
    assert_eq!(server.counts("web").await, (5, 5, 5));
    drop((proxies, channel));
    server.wait_for_counts("web", (0, 0, 5)).await;
    let mut reconnected = Vec::new();
    for name in &names {
        reconnected.push(server.proxy(dataplane(name, "web")).await);
    }
    assert_eq!(server.counts("web").await, (5, 0, 5));
}

#[tokio::test]
async fn a_lost_dataplane_is_removed_when_its_retention_ends() {
    let server = Server::with(|config| {
        config.registry.retention = std::time::Duration::from_millis(100);
    })
    .await;
    let mut watch = server.watch().await;
    let proxy = server.proxy(dataplane("a", "web")).await;
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1));
    drop(proxy);
    watch.next().await;
    assert_eq!(watch.counts("web"), (0, 0, 1), "lost but still registered");
    assert_eq!(watch.next().await.removed[0].name, "web");
    still_serves(&server).await;
}

#[tokio::test]
async fn a_proxy_is_healthy_if_it_and_any_inbound_are_ready() {
    let server = Server::start().await;
    let mut two_inbounds = dataplane("a", "web");
    two_inbounds.inbounds.push(inbound(9090));
    let mut proxy = server.proxy(two_inbounds).await;
    for (sequence, state, inbounds, healthy) in [
        (1, HealthState::Ready, &[(9090, HealthState::Ready)][..], 1),
        (2, HealthState::Ready, &[(8080, HealthState::NotReady)], 0),
        (3, HealthState::Ready, &[(8080, HealthState::NotReady), (9090, HealthState::Ready)], 1),
        (4, HealthState::NotReady, &[(9090, HealthState::Ready)], 0),
        (5, HealthState::Ready, &[], 0),
    ] {
        let inbound =
            |(port, state): &(u32, HealthState)| InboundHealth { port: *port, state: (*state).into() };
        let report =
            HealthReport { sequence, proxy: state.into(), inbounds: inbounds.iter().map(inbound).collect() };
        proxy.stream.send(Request::Health(report));
        proxy.expect_ack(sequence).await;
        assert_eq!(server.counts("web").await, (1, healthy, 1), "report {sequence}");
    }
}
