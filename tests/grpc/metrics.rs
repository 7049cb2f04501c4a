//! Metrics: gauges agree with `ListWorkloads`, and counters count calls and sessions.

use headcount::proto::{
    GetWorkloadRequest, HealthState, ListWorkloadsRequest, WaitForWorkloadRequest, WatchWorkloadsRequest,
};
use tonic::Code;

use crate::{
    proxy::{SessionStream, health},
    raw::call,
    support::{Counts, Server, counts_of, dataplane, in_time},
};

/// Asserts that each listed Workload has its series, and that there are no others.
async fn assert_agrees(server: &Server) {
    let listed = server.list().await.workloads;
    let scrape = server.scrape().await;
    let series = scrape.0.lines().filter(|line| line.starts_with("headcount_dataplane_proxies_"));
    assert_eq!(series.count(), listed.len() * 3, "{}", scrape.0);
    for workload in &listed {
        let (connected, healthy, total) = counts_of(workload);
        for (which, count) in [("connected", connected), ("healthy", healthy), ("registered", total)] {
            let series = format!(
                r#"headcount_dataplane_proxies_{which}{{mesh="{}",namespace="{}",workload="{}"}}"#,
                workload.mesh, workload.namespace, workload.name
            );
            assert_eq!(scrape.value(&series), Some(count), "{series}");
        }
    }
    for mesh in ["default", "other"] {
        let of_mesh = listed.iter().filter(|workload| workload.mesh == mesh).count();
        let of_mesh = u32::try_from(of_mesh).expect("a few");
        let series = scrape.value(&format!(r#"headcount_workloads{{mesh="{mesh}"}}"#));
        assert_eq!(series.unwrap_or_default(), of_mesh, "{mesh}");
    }
}

async fn mesh_counts(server: &Server, mesh: &str) -> Counts {
    let scrape = server.scrape().await;
    let count = |which: &str| {
        let series = format!(r#"headcount_mesh_dataplane_proxies_{which}{{mesh="{mesh}"}}"#);
        scrape.value(&series).unwrap_or_default()
    };
    (count("connected"), count("healthy"), count("registered"))
}

#[tokio::test]
async fn the_gauges_agree_with_the_list_after_each_change() {
    let server = Server::start().await;
    assert_agrees(&server).await;
    let mut a = server.proxy(dataplane("a", "web")).await;
    assert_agrees(&server).await;
    a.ready().await;
    assert_agrees(&server).await;
    let mut elsewhere = dataplane("a", "api");
    elsewhere.mesh = "other".into();
    let b = server.proxy(elsewhere).await;
    assert_agrees(&server).await;
    assert_eq!(mesh_counts(&server, "default").await, (1, 1, 1));
    assert_eq!(mesh_counts(&server, "other").await, (1, 0, 1));

    // A dataplane without a Workload, and one whose Workload name another mesh holds, are counted
    // only in the gauges of their mesh.
    let mut unnamed = dataplane("u", "web");
    unnamed.labels.clear();
    let _unnamed = server.proxy(unnamed).await;
    let mut rival = dataplane("r", "web");
    rival.mesh = "other".into();
    let rival = server.proxy(rival).await;
    assert_agrees(&server).await;
    assert_eq!(mesh_counts(&server, "default").await, (2, 1, 2));
    assert_eq!(mesh_counts(&server, "other").await, (2, 0, 2));
    server.wait_for_metric("headcount_workload_mesh_conflicts", 1).await;
    rival.goodbye().await;
    server.wait_for_metric("headcount_workload_mesh_conflicts", 0).await;

    drop(a);
    server.wait_for_counts("web", (0, 0, 1)).await;
    assert_agrees(&server).await;
    b.goodbye().await;
    assert_agrees(&server).await;
    assert_eq!(mesh_counts(&server, "other").await, (0, 0, 0));
    assert!(!server.scrape().await.0.contains(r#"mesh="other""#), "the series of the mesh are removed");
}

#[tokio::test]
async fn ended_sessions_are_counted_by_reason() {
    let server = Server::start().await;
    let ended = |reason: &str| format!(r#"headcount_sessions_ended_total{{reason="{reason}"}}"#);
    server.proxy(dataplane("a", "web")).await.goodbye().await;
    server.wait_for_metric(&ended("goodbye"), 1).await;

    drop(server.proxy(dataplane("a", "web")).await);
    server.wait_for_metric(&ended("lost"), 1).await;

    let mut rejected = server.proxy(dataplane("a", "web")).await;
    rejected.stream.send(health(0, HealthState::Ready));
    rejected.stream.end().await;
    server.wait_for_metric(&ended("refused"), 1).await;

    let mut older = server.proxy(dataplane("a", "web")).await;
    let _newer = server.proxy(dataplane("a", "web")).await;
    older.stream.end().await;
    server.wait_for_metric(&ended("superseded"), 1).await;

    server.wait_for_metric("headcount_sessions_opened_total", 5).await;

    let scrape = server.scrape().await;
    for reason in ["goodbye", "lost", "refused", "superseded"] {
        assert_eq!(scrape.value(&ended(reason)), Some(1), "{reason}");
    }
    // `keepalive.rs` tests the reason `idle`, `drain.rs` the reason `drained`.
    for reason in ["idle", "drained"] {
        assert_eq!(scrape.value(&ended(reason)), Some(0), "{reason}");
    }
}

fn handled(kind: &str, service: &str, method: &str, code: &str) -> String {
    format!(
        r#"grpc_server_handled_total{{grpc_code="{code}",grpc_method="{method}",grpc_service="{service}",grpc_type="{kind}"}}"#
    )
}

#[tokio::test]
async fn calls_are_counted_by_their_status_and_cancelled_ones_as_such() {
    let server = Server::start().await;
    let service = "headcount.v1.WorkloadService";
    server.workloads().list_workloads(ListWorkloadsRequest::default()).await.unwrap();
    server.wait_for_metric(&handled("unary", service, "ListWorkloads", "OK"), 1).await;

    let get = GetWorkloadRequest::default();
    server.workloads().get_workload(get.clone()).await.unwrap_err();
    server.wait_for_metric(&handled("unary", service, "GetWorkload", "InvalidArgument"), 1).await;
    let get = GetWorkloadRequest { name: "web".into(), ..get };
    server.workloads().get_workload(get).await.unwrap_err();
    server.wait_for_metric(&handled("unary", service, "GetWorkload", "NotFound"), 1).await;

    let watch = server.workloads().watch_workloads(WatchWorkloadsRequest::default()).await;
    let mut watch = watch.unwrap().into_inner();
    watch.message().await.unwrap();
    drop(watch);
    let cancelled = handled("server_stream", service, "WatchWorkloads", "Canceled");
    server.wait_for_metric(&cancelled, 1).await;

    let wait = WaitForWorkloadRequest {
        name: "web".into(),
        minimum_healthy: 1,
        ..WaitForWorkloadRequest::default()
    };
    let waiting = tokio::spawn({
        let mut client = server.workloads();
        async move { client.wait_for_workload(wait).await }
    });
    server.wait_for_metric("headcount_watchers", 1).await;
    waiting.abort();
    server.wait_for_metric(&handled("unary", service, "WaitForWorkload", "Canceled"), 1).await;

    let service = "headcount.v1.DataplaneService";
    let proxy = server.proxy(dataplane("a", "web")).await;
    drop(proxy);
    let mut stream = SessionStream::open(server.connect().await).await;
    stream.send(health(1, HealthState::Ready));
    stream.end().await;
    let refused = handled("bidi_stream", service, "Session", "FailedPrecondition");
    server.wait_for_metric(&refused, 1).await;
}

/// A client cannot create series by calling invented methods.
#[tokio::test]
async fn calls_of_unknown_methods_share_one_series() {
    let server = Server::start().await;
    for path in ["/a.B/C", "/headcount.v1.WorkloadService/Frobnicate", "/x"] {
        let status = call(server.channel(), path, &b""[..]).await;
        assert_eq!(status.code(), Code::Unimplemented);
    }
    let unknown = handled("unknown", "unknown", "unknown", "Unimplemented");
    server.wait_for_metric(&unknown, 3).await;
    let scrape = server.scrape().await;
    let started =
        r#"grpc_server_started_total{grpc_method="unknown",grpc_service="unknown",grpc_type="unknown"}"#;
    assert_eq!(scrape.value(started), Some(3));
    assert!(!scrape.0.contains("Frobnicate"));
}

#[tokio::test]
async fn deliveries_to_watchers_are_observed() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let mut web = server.proxy(dataplane("a", "web")).await;
    watch.next().await;
    web.ready().await;
    watch.next().await;
    server.wait_for_metric("headcount_change_delivery_seconds_count", 2).await;
    let scrape = in_time("a scrape", server.scrape()).await;
    assert_eq!(scrape.value("headcount_watchers"), Some(1));
    assert!(scrape.0.contains("headcount_build_info{version="));
}
