//! Good sessions: what they hear, and what is remembered of how they end.

use headcount::proto::{
    HealthReport, HealthState, InboundHealth, ListDataplanesRequest, SessionRequest, WorkloadRef,
    session_request::Message as Said,
};
use prost::Message as _;

use crate::{
    proxy::{Proxy, health, hello},
    raw,
    support::{Server, dataplane, inbound, soon, still_serves},
};

#[tokio::test]
async fn the_welcome_names_the_session_and_the_workload() {
    let server = Server::start().await;
    let mut stated = dataplane("a", "web");
    stated.namespace = "shop".into();
    let proxy = server.proxy(stated).await;
    let workload = WorkloadRef {
        name: "web".into(),
        namespace: "shop".into(),
        mesh: "default".into(),
    };
    assert_eq!(proxy.welcome.workload, Some(workload));
    assert_eq!(proxy.welcome.warnings, [""; 0]);

    let listed = server
        .dataplanes()
        .list_dataplanes(ListDataplanesRequest::default())
        .await;
    let seen = &listed.unwrap().into_inner().dataplanes[0];
    assert!(!seen.session_id.is_empty());
    assert_eq!(seen.session_id, proxy.welcome.session_id);
    assert_eq!(seen.agent_version, "test");
}

#[tokio::test]
async fn a_dataplane_without_the_label_is_welcome_and_in_no_workload() {
    let server = Server::start().await;
    let mut stated = dataplane("a", "web");
    stated.labels.clear();
    let mut proxy = server.proxy(stated).await;
    assert_eq!(proxy.welcome.workload, None);
    proxy.ready().await;
    assert_eq!(server.list().await.workloads, []);
    still_serves(&server).await;
}

#[tokio::test]
async fn reports_are_acked_in_order_and_counted_when_acked() {
    let server = Server::start().await;
    let mut proxy = server.proxy(dataplane("a", "web")).await;
    for (sequence, state, healthy) in [
        (1, HealthState::Ready, 1),
        (2, HealthState::NotReady, 0),
        (17, HealthState::Ready, 1),
        (u64::from(u32::MAX) + 1, HealthState::Unspecified, 0),
    ] {
        proxy.line.say(health(sequence, state));
        proxy.acked(sequence).await;
        assert_eq!(server.counts("web").await, (1, healthy, 1));
    }
}

/// A gateway has no inbounds: it is healthy when its proxy is ready.
#[tokio::test]
async fn a_gateway_is_healthy_by_its_proxy_alone() {
    let server = Server::start().await;
    let mut stated = dataplane("a", "edge");
    stated.inbounds.clear();
    let mut gateway = server.proxy(stated).await;
    let mut report = HealthReport {
        sequence: 1,
        proxy: HealthState::Ready.into(),
        inbounds: vec![],
    };
    gateway.line.say(Said::Health(report.clone()));
    gateway.acked(1).await;
    assert_eq!(server.counts("edge").await, (1, 1, 1));
    report.sequence = 2;
    report.proxy = HealthState::NotReady.into();
    gateway.line.say(Said::Health(report));
    gateway.acked(2).await;
    assert_eq!(server.counts("edge").await, (1, 0, 1));
}

#[tokio::test]
async fn a_goodbye_ends_registration_and_workload_at_once() {
    let server = Server::start().await;
    let (mut a, b) = (
        server.proxy(dataplane("a", "web")).await,
        server.proxy(dataplane("b", "web")).await,
    );
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
    let mut line = proxy.line;
    drop(line.say);
    let end = soon("the end", line.hear.message()).await;
    assert_eq!(end.unwrap(), None);
    assert_eq!(server.counts("web").await, (0, 0, 1));
    server
        .until_metric(r#"headcount_sessions_ended_total{reason="lost"}"#, 1)
        .await;
    still_serves(&server).await;
}

#[tokio::test]
async fn a_reset_stream_is_a_loss() {
    let server = Server::start().await;
    let said = Some(hello(dataplane("a", "web")));
    let said = SessionRequest { message: said }.encode_to_vec();
    let path = "/headcount.v1.DataplaneService/Session";
    let mut watch = server.watch().await;
    let stream = raw::open_stream(server.connect().await, path, &said).await;
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1));
    stream.reset();
    watch.next().await;
    assert_eq!(watch.counts("web"), (0, 0, 1));
    let lost = r#"headcount_sessions_ended_total{reason="lost"}"#;
    server.until_metric(lost, 1).await;
    still_serves(&server).await;
}

#[tokio::test]
async fn a_lost_connection_loses_all_its_sessions_and_they_come_back() {
    let server = Server::start().await;
    let channel = server.connect().await;
    let names: Vec<_> = (0..5).map(|n| format!("p{n}")).collect();
    let mut proxies = Vec::new();
    for name in &names {
        let stated = dataplane(name, "web");
        let mut proxy = Proxy::hello(channel.clone(), stated).await;
        proxy.ready().await;
        proxies.push(proxy);
    }
    assert_eq!(server.counts("web").await, (5, 5, 5));
    drop((proxies, channel));
    server.until_counts("web", (0, 0, 5)).await;
    let mut back = Vec::new();
    for name in &names {
        back.push(server.proxy(dataplane(name, "web")).await);
    }
    assert_eq!(server.counts("web").await, (5, 0, 5));
}

/// What `retention` is for, and that it ends.
#[tokio::test]
async fn a_lost_dataplane_is_forgotten_when_retention_ends() {
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
    assert_eq!(watch.counts("web"), (0, 0, 1), "lost, and still registered");
    assert_eq!(watch.next().await.removed[0].name, "web");
    still_serves(&server).await;
}

#[tokio::test]
async fn health_is_any_ready_inbound_of_a_ready_proxy() {
    let server = Server::start().await;
    let mut stated = dataplane("a", "web");
    stated.inbounds.push(inbound(9090));
    let mut proxy = server.proxy(stated).await;
    for (sequence, state, ready, healthy) in [
        (1, HealthState::Ready, &[(9090, HealthState::Ready)][..], 1),
        (2, HealthState::Ready, &[(8080, HealthState::NotReady)], 0),
        (
            3,
            HealthState::Ready,
            &[(8080, HealthState::NotReady), (9090, HealthState::Ready)],
            1,
        ),
        (4, HealthState::NotReady, &[(9090, HealthState::Ready)], 0),
        (5, HealthState::Ready, &[], 0),
    ] {
        let stated = |(port, state): &(u32, HealthState)| InboundHealth {
            port: *port,
            state: (*state).into(),
        };
        let report = HealthReport {
            sequence,
            proxy: state.into(),
            inbounds: ready.iter().map(stated).collect(),
        };
        proxy.line.say(Said::Health(report));
        proxy.acked(sequence).await;
        assert_eq!(server.counts("web").await, (1, healthy, 1), "report {sequence}");
    }
}
