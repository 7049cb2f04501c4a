//! The service of a server that is warming.

use futures_util::FutureExt as _;
use tonic::Code;

use super::*;
use crate::{
    grpc::access::tests::trusted,
    proto::{self, Warming, WorkloadFilter},
    registry::{
        RegistrySettings, Session,
        tests::{begin_warming, connect, dataplane, reconnected},
    },
};

const LIMIT: Duration = Duration::from_secs(30);

/// The workload `web` has one proxy, and `missing` proxies have not reconnected.
fn warming_server(missing: usize) -> (Registry, Workloads, Session) {
    let registry = Registry::new(RegistrySettings::default());
    let metrics = Metrics::new(&registry).unwrap();
    let session = join(&registry, "a", "web");
    begin_warming(&registry, missing, LIMIT);
    (registry.clone(), Workloads::new(registry, &metrics, CancellationToken::new()), session)
}

fn join(registry: &Registry, name: &str, workload: &str) -> Session {
    connect(registry, dataplane(name, workload)).unwrap().session
}

fn warming_for(missing_dataplanes: u32, remaining: u64) -> Warming {
    let remaining = Some(convert::duration(Duration::from_secs(remaining)));
    Warming { missing_dataplanes, remaining }
}

type Responses = <Workloads as WorkloadService>::WatchWorkloadsStream;

async fn watch(service: &Workloads, filter: WorkloadFilter) -> Responses {
    let request = WatchWorkloadsRequest { filter: Some(filter), ..WatchWorkloadsRequest::default() };
    service.watch_workloads(trusted(request)).await.unwrap().into_inner()
}

/// The next response as a client decodes it, and how long it took.
async fn next(responses: &mut Responses) -> (proto::WatchWorkloadsResponse, Duration) {
    let began = Instant::now();
    let Encoded(bytes) = responses.next().await.unwrap().unwrap();
    (prost::Message::decode(bytes).unwrap(), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_get_and_a_list_state_that_the_server_is_warming() {
    let (registry, service, _session) = warming_server(2);
    let get = || async {
        let request = GetWorkloadRequest { name: "web".into(), ..GetWorkloadRequest::default() };
        service.get_workload(trusted(request)).await.unwrap().into_inner().warming
    };
    let list = || async {
        let request = trusted(ListWorkloadsRequest::default());
        service.list_workloads(request).await.unwrap().into_inner().warming
    };
    assert_eq!((get().await, list().await), (Some(warming_for(2, 30)), Some(warming_for(2, 30))));
    reconnected(&registry);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!((get().await, list().await), (Some(warming_for(1, 20)), Some(warming_for(1, 20))));
    reconnected(&registry);
    assert_eq!((get().await, list().await), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_watch_states_with_each_step_that_the_server_is_warming() {
    let (registry, service, _session) = warming_server(2);
    let mut responses = watch(&service, WorkloadFilter::default()).await;
    let (snapshot, _) = next(&mut responses).await;
    assert!(snapshot.reset && snapshot.synced && snapshot.upserted.len() == 1, "{snapshot:?}");
    assert_eq!(snapshot.warming, Some(warming_for(2, 30)));

    let _second = join(&registry, "b", "web");
    reconnected(&registry);
    let (delta, _) = next(&mut responses).await;
    assert_eq!(delta.warming, Some(warming_for(1, 30)));
    let status = delta.upserted[0].status.as_ref().unwrap();
    assert_eq!(status.dataplane_proxies.as_ref().unwrap().total, 2);

    let _third = join(&registry, "c", "web");
    reconnected(&registry);
    let (last, _) = next(&mut responses).await;
    assert_eq!((last.upserted.len(), last.warming), (1, None), "{last:?}");
    assert_ne!(last.resume_token, delta.resume_token);
}

/// Every 5 s, so that the end is visible although the last dataplane is of another Workload.
#[tokio::test(start_paused = true)]
async fn a_quiet_watch_receives_bookmarks_until_the_server_is_no_longer_warming() {
    let (registry, service, _session) = warming_server(2);
    let web = WorkloadFilter { name: "web".into(), ..WorkloadFilter::default() };
    let mut responses = watch(&service, web).await;
    let (snapshot, _) = next(&mut responses).await;
    let _other = join(&registry, "b", "api");
    reconnected(&registry);
    let (bookmark, after) = next(&mut responses).await;
    assert_eq!(after.as_secs(), 5);
    let expected = proto::WatchWorkloadsResponse { reset: false, upserted: Vec::new(), ..snapshot.clone() };
    assert_eq!(
        bookmark,
        proto::WatchWorkloadsResponse { warming: Some(warming_for(1, 25)), ..expected.clone() }
    );

    reconnected(&registry);
    let (end, after) = next(&mut responses).await;
    assert!(after <= Duration::from_secs(5), "{after:?}");
    assert_eq!(end, proto::WatchWorkloadsResponse { warming: None, ..expected });

    // From then on as often as without a restart.
    let (_, after) = next(&mut responses).await;
    assert!(after > Duration::from_secs(50), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_learns_when_the_time_is_over() {
    let (_registry, service, _session) = warming_server(2);
    let mut responses = watch(&service, WorkloadFilter::default()).await;
    next(&mut responses).await;
    tokio::time::advance(Duration::from_secs(28)).await;
    let (end, after) = next(&mut responses).await;
    assert_eq!((end.synced, end.warming, after.as_secs()), (true, None, 2), "{end:?}");
}

/// Watches with the same filter share the bytes of a delta, and a slow one sends them later.
#[tokio::test(start_paused = true)]
async fn shared_bytes_do_not_have_an_earlier_state() {
    let (registry, service, _session) = warming_server(2);
    let mut fast = watch(&service, WorkloadFilter::default()).await;
    let mut slow = watch(&service, WorkloadFilter::default()).await;
    next(&mut fast).await;
    next(&mut slow).await;
    let _second = join(&registry, "b", "web");
    assert_eq!(next(&mut fast).await.0.warming, Some(warming_for(2, 30)));
    tokio::time::advance(LIMIT).await;
    let (delta, _) = next(&mut slow).await;
    assert_eq!((delta.upserted.len(), delta.warming), (1, None), "{delta:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_server_that_is_not_warming_has_no_state() {
    let (registry, service, _session) = warming_server(1);
    reconnected(&registry);
    let mut responses = watch(&service, WorkloadFilter::default()).await;
    assert_eq!(next(&mut responses).await.0.warming, None);
    assert!(responses.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_wait_does_not_count_missing_dataplanes_and_reports_them() {
    let (_registry, service, _session) = warming_server(2);
    let wait = |minimum_connected| {
        let request = WaitForWorkloadRequest {
            name: "web".into(),
            minimum_connected,
            timeout: Some(convert::duration(Duration::from_secs(9))),
            ..WaitForWorkloadRequest::default()
        };
        service.wait_for_workload(trusted(request))
    };
    wait(1).await.unwrap();
    let timed_out = wait(2).await.unwrap_err();
    assert_eq!(timed_out.code(), Code::DeadlineExceeded);
    let message = "workload default/web: wanted 2 connected; has 1 connected, 0 healthy, 1 total; the server \
                   restarted: 2 dataplanes have not reconnected yet (at most 21s more)";
    assert_eq!(timed_out.message(), message);
}
