//! SIGTERM to a server with clients of every kind.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use headcount::proto::{
    ListWorkloadsRequest, WaitForWorkloadRequest, WatchEventsRequest, WatchWorkloadsRequest,
    WatchWorkloadsResponse, event_service_client::EventServiceClient, session_response::Message as Response,
    workload_service_client::WorkloadServiceClient,
};

use crate::support::{DEADLINE, Program, Proxy, Server, Signal, Site, dataplane, gateway, hello, ready};

/// Opens a watch that never reads and whose window is a few bytes, so the server cannot send to it.
async fn stuck_watcher(server: &Server) -> tonic::Streaming<WatchWorkloadsResponse> {
    let channel = server.endpoint().initial_stream_window_size(16).connect().await.unwrap();
    let request = WatchWorkloadsRequest::default();
    WorkloadServiceClient::new(channel).watch_workloads(request).await.unwrap().into_inner()
}

/// Starts `headcount simulate`, whose sessions keep changing their health, and a few real agents.
async fn start_clients(server: &Server) -> (Program, Vec<Program>) {
    let agents = ["web-1", "web-2", "web-3"].map(|name| server.agent(name, &gateway("default", "web", name)));
    let load = server.client(
        "simulate --proxies 100 --workloads 1 --connections 10 --flaps 200 --duration 60s --settle-timeout 3s -o json",
    );
    server.wait_for_counts("web", [3, 3, 3]).await;
    let simulated = "wait workload sim-0 -n simulate --connected 100 --timeout 25s";
    server.run(simulated).await.expect_exit(0);
    (load, agents.into())
}

#[tokio::test]
async fn a_drain_notifies_all_clients_and_ends_within_its_timeout() {
    let drain_timeout = Duration::from_secs(3);
    let server = Server::start("--drain-timeout 3s --hello-timeout 1m").await;
    let _stuck = stuck_watcher(&server).await;
    let (load, agents) = start_clients(&server).await;

    let channel = server.connect().await;
    let mut idle = Proxy::open(channel.clone(), []).await;
    let mut proxy =
        Proxy::open(channel.clone(), [hello(dataplane("default", "api", "api-1")), ready()]).await;
    assert!(matches!(proxy.next_response().await, Ok(Response::Welcome(_))));
    assert!(matches!(proxy.next_response().await, Ok(Response::Ack(_))));
    let watch = server.watch("web").await;
    let mut events = EventServiceClient::new(channel.clone())
        .watch_events(WatchEventsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut health = HealthClient::new(channel.clone())
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .unwrap()
        .into_inner();
    let mut workloads = WorkloadServiceClient::new(channel);
    let request = WaitForWorkloadRequest { name: "api".into(), minimum_healthy: 9, ..Default::default() };
    let waiting = tokio::spawn(async move { workloads.wait_for_workload(request).await });
    // The stuck watch, that of the load tool, and the three of this test.
    server.wait_for_watchers(5).await;

    let Server { program, site: _site, .. } = server;
    program.signal(Signal::TERM);
    let ending = tokio::spawn(program.end());
    assert!(
        matches!(proxy.next_response().await, Ok(Response::Drain(drain)) if drain.reason.contains("draining"))
    );
    let health_end = async {
        loop {
            if let Err(status) = health.message().await {
                break status;
            }
        }
    };
    let ends = [
        proxy.next_response().await.unwrap_err(),
        idle.next_response().await.unwrap_err(),
        watch.end().await,
        events.message().await.unwrap_err(),
        timeout(DEADLINE, health_end).await.unwrap(),
        waiting.await.unwrap().unwrap_err(),
    ];
    for end in ends {
        assert_eq!((end.code(), end.message()), (Code::Unavailable, "the server is draining: reconnect"));
    }
    for agent in agents {
        agent.wait_for_stderr("session drained").await;
        agent.signal(Signal::TERM);
        agent.end().await.expect_exit(0);
    }

    let ended = ending.await.unwrap().expect_exit(0);
    assert!(ended.after < drain_timeout + Duration::from_secs(1), "{:?}", ended.after);
    assert!(
        ended.err.contains("closing the remaining connections"),
        "the stuck watch has delayed the drain: {ended}"
    );
    assert!(!ended.err.contains("panicked"), "{ended}");

    load.signal(Signal::INT);
    let load = load.end().await.expect_exit(130);
    let report: Value = serde_json::from_str(&load.out).unwrap();
    assert_eq!((&report["drained"], &report["lost"]), (&100.into(), &0.into()), "{report}");
}

#[tokio::test]
async fn a_drain_is_quick_when_all_clients_read() {
    let server = Server::start("--drain-timeout 20s").await;
    let agent = server.agent("web-1", &gateway("default", "web", "web-1"));
    let watch = server.client("get workloads -w");
    server.wait_for_counts("web", [1, 1, 1]).await;
    watch.wait_for_stdout("the Workload", |out| out.contains("web").then_some(())).await;
    server.program.signal(Signal::TERM);
    let ended = server.program.end().await.expect_exit(0);
    assert!(ended.after < Duration::from_secs(2), "{:?}", ended.after);
    assert!(ended.err.contains("drained"), "{ended}");
    agent.wait_for_stderr("session drained").await;
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once() {
    let site = Site::new();
    let log = site.path("audit.log");
    let flags = format!("--drain-timeout 1m --audit-log {}", log.display());
    let server = Server::start_at(site, &flags).await;
    let _stuck = stuck_watcher(&server).await;
    let _proxy =
        Proxy::open(server.connect().await, [hello(dataplane("default", "web", "web-1")), ready()]).await;
    server.wait_for_counts("web", [1, 1, 1]).await;
    // More than are written: a line with the number of the others waits for the end of its window.
    let refusals = 50;
    let mut client = WorkloadServiceClient::new(server.connect().await);
    for _ in 0..refusals {
        let mut request = tonic::Request::new(ListWorkloadsRequest::default());
        request.metadata_mut().insert("authorization", "Bearer nonsense".parse().unwrap());
        client.list_workloads(request).await.unwrap_err();
    }
    server.program.signal(Signal::TERM);
    server.program.wait_for_stderr("draining").await;
    server.program.signal(Signal::TERM);
    let ended = server.program.end().await.expect_exit(0);
    assert!(ended.after < Duration::from_secs(1), "{:?}", ended.after);
    assert!(ended.err.contains("a second signal: ending at once"), "{ended}");
    let audit = std::fs::read_to_string(log).unwrap();
    let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let refused = lines.filter(|line| line["outcome"] == "unauthenticated");
    let recorded: u64 = refused.map(|line| line["leftOut"].as_u64().unwrap_or(1)).sum();
    assert_eq!(recorded, refusals, "{audit}");
}
