//! Restarts of a server that keeps its registrations: no client ever sees fewer registered proxies, a
//! deletion, or another uid.

use serde_json::Value;
use tokio::time::timeout;
use tonic::Streaming;

use headcount::proto::{
    WatchWorkloadsRequest, WatchWorkloadsResponse, Workload, workload_service_client::WorkloadServiceClient,
};

use crate::{
    informers::{informers, wait_for_store},
    support::{
        Counts, DEADLINE, Kubectl, Program, Proxy, Server, Signal, dataplane, gateway, get, hello, ready,
    },
};

/// Both ways in which a server ends.
const SIGNALS: [Signal; 2] = [Signal::TERM, Signal::KILL];

/// Starts a durable server and three agents of the workload `web`.
async fn three_agents() -> (Server, [Program; 3]) {
    let server = Server::start_durable("--drain-timeout 5s").await;
    let agents = ["web-1", "web-2", "web-3"].map(|name| server.agent(name, &gateway("default", "web", name)));
    server.wait_for_counts("web", [3, 3, 3]).await;
    (server, agents)
}

/// What a client has seen of the Workload `web`, in order.
#[derive(Debug, PartialEq)]
struct Seen {
    uid: String,
    counts: Counts,
}

/// Asserts that the client has seen all three proxies all the time, in one Workload.
fn assert_never_less(seen: &[Seen]) {
    let first = &seen.first().expect("something was seen").uid;
    assert!(seen.iter().all(|one| one.uid == *first && one.counts[2] >= 3), "{seen:?}");
}

/// Parses the rows of `get workloads -w -o wide`.
fn rows(out: &str) -> Vec<Seen> {
    let rows = out.lines().filter(|line| !line.starts_with("NAMESPACE"));
    rows.filter_map(|row| {
        let cells: Vec<_> = row.split_whitespace().collect();
        assert!(!row.contains("<deleted>"), "{out}");
        let count = |column: usize| cells.get(column)?.parse().ok();
        Some(Seen { uid: (*cells.last()?).to_owned(), counts: [count(3)?, count(4)?, count(5)?] })
    })
    .collect()
}

#[tokio::test]
async fn get_and_wait_continue_with_the_same_workload() {
    let (mut server, _agents) = three_agents().await;
    let watch = server.client("get workloads -w -o wide");
    let wait = server.client("wait workload web --healthy 4 --timeout 25s");
    server.wait_for_watchers(2).await;
    for (signal, restarts) in SIGNALS.into_iter().zip(1..) {
        server.restart(signal).await;
        // More often if it has reached the server while that drained.
        let reconnected = |err: &str| err.matches("reconnected").count() >= restarts;
        watch.wait_for_stderr_matching("reconnected", reconnected).await;
        server.wait_for_counts("web", [3, 3, 3]).await;
    }
    let _fourth = server.agent("web-4", &gateway("default", "web", "web-4"));
    let waited = wait.end().await.expect_exit(0);
    assert_eq!(waited.out, "workload default/web: 4 connected, 4 healthy, 4 total\n", "{waited}");
    let all = watch
        .wait_for_stdout("four proxies", |out| {
            let rows = rows(out);
            (rows.last()?.counts == [4, 4, 4]).then_some(rows)
        })
        .await;
    assert_never_less(&all);
    assert_eq!(all[0].uid, server.watch("web").await.uid(), "the last column is the uid");
}

#[tokio::test]
async fn a_stop_without_a_retention_keeps_the_workload() {
    let mut server = Server::start_durable("--retention 0s --warming-timeout 5m").await;
    let hello = hello(dataplane("default", "web", "web-1"));
    let proxy = Proxy::open(server.connect().await, [hello, ready()]).await;
    server.wait_for_counts("web", [1, 1, 1]).await;
    let uid = server.watch("web").await.uid().to_owned();
    server.restart(Signal::TERM).await;
    drop(proxy);
    server.wait_for_counts("web", [0, 0, 1]).await;
    assert_eq!(server.watch("web").await.uid(), uid);
}

/// Opens a watch of all Workloads.
async fn watch_from(server: &Server, resume_token: &str) -> Streaming<WatchWorkloadsResponse> {
    let request = WatchWorkloadsRequest { resume_token: resume_token.to_owned(), ..Default::default() };
    WorkloadServiceClient::new(server.connect().await).watch_workloads(request).await.unwrap().into_inner()
}

async fn next(watch: &mut Streaming<WatchWorkloadsResponse>) -> WatchWorkloadsResponse {
    timeout(DEADLINE, watch.message()).await.expect("a response in time").unwrap().expect("a response")
}

fn seen(workload: &Workload) -> Seen {
    let counts = workload.status.unwrap().dataplane_proxies.unwrap();
    Seen { uid: workload.uid.clone(), counts: [counts.connected, counts.healthy, counts.total] }
}

#[tokio::test]
async fn a_resume_token_of_an_earlier_life_is_answered_by_a_snapshot() {
    let (mut server, _agents) = three_agents().await;
    let (mut token, mut revision, mut all) = (String::new(), 0, Vec::new());
    for signal in [None, Some(Signal::TERM), Some(Signal::KILL)] {
        if let Some(signal) = signal {
            server.restart(signal).await;
        }
        let mut watch = watch_from(&server, &token).await;
        let first = next(&mut watch).await;
        assert!(first.reset && first.synced, "{first:?}");
        assert!(first.revision > revision, "{} after {revision}", first.revision);
        all.extend(first.upserted.iter().map(seen));
        assert_eq!(first.upserted.len(), 1, "the Workload exists at once");
        (token, revision) = (first.resume_token, first.revision);
        while all.last().expect("the Workload").counts != [3, 3, 3] {
            let change = next(&mut watch).await;
            assert!(!change.reset && change.removed.is_empty(), "{change:?}");
            assert!(change.revision > revision, "{} after {revision}", change.revision);
            all.extend(change.upserted.iter().map(seen));
            (token, revision) = (change.resume_token, change.revision);
        }
    }
    assert_never_less(&all);
}

/// Parses the events that kubectl or an informer has printed, and asserts that none is a deletion. The
/// pointers lead to the uid and the counts of an object.
fn events(out: &str, [uid, counts @ ..]: [&str; 4]) -> Vec<Seen> {
    let events = serde_json::Deserializer::from_str(out).into_iter::<Value>().map_while(Result::ok);
    events
        .filter_map(|event| {
            let kind = event.get("type").or(event.get("event"))?.as_str()?;
            assert!(!["DELETED", "delete"].contains(&kind), "{out}");
            let uid = event.pointer(uid)?.as_str()?.to_owned();
            let counts = counts.map(|count| event.pointer(count).and_then(Value::as_u64).expect("a count"));
            Some(Seen { uid, counts: counts.map(|count| u32::try_from(count).expect("few")) })
        })
        .collect()
}

fn of_kubectl(out: &str) -> Vec<Seen> {
    let [connected, healthy, total] =
        ["connected", "healthy", "total"].map(|count| format!("/object/status/dataplaneProxies/{count}"));
    events(out, ["/object/metadata/uid", &connected, &healthy, &total])
}

fn of_informer(out: &str) -> Vec<Seen> {
    events(out, ["/uid", "/counts/0", "/counts/1", "/counts/2"])
}

async fn wait_until_last(program: &Program, parse: fn(&str) -> Vec<Seen>, counts: Counts) -> Vec<Seen> {
    program
        .wait_for_stdout(&format!("{counts:?}"), |out| {
            let seen = parse(out);
            (seen.last()?.counts == counts).then_some(seen)
        })
        .await
}

/// A watch of kubectl that prints each event as an object.
const WATCH: &str = "get workloads -w --output-watch-events -o json";

#[tokio::test]
async fn kubectl_sees_the_same_workload_before_and_after() {
    let (mut server, _agents) = three_agents().await;
    let kubectl: Vec<_> = Kubectl::all(&server).await;
    let mut all: Vec<Vec<Seen>> = kubectl.iter().map(|_| Vec::new()).collect();
    for signal in SIGNALS {
        let watches: Vec<_> = kubectl.iter().map(|kubectl| kubectl.start(WATCH)).collect();
        for watch in &watches {
            wait_until_last(watch, of_kubectl, [3, 3, 3]).await;
        }
        let old = get(server.kube, "/apis/kuma.io/v1alpha1/workloads").await.unwrap().1;
        server.restart(signal).await;
        assert_expired(&server, &old).await;
        // `kubectl get -w` ends with the connection, and the user starts it again.
        for (watch, all) in watches.into_iter().zip(&mut all) {
            all.extend(of_kubectl(&watch.end().await.out));
        }
        for (kubectl, all) in kubectl.iter().zip(&mut all) {
            let watch = kubectl.start(WATCH);
            all.extend(wait_until_last(&watch, of_kubectl, [3, 3, 3]).await);
            assert_never_less(all);
        }
    }
}

/// Asserts that a watch from the resourceVersion of a list of the earlier process gets the error 410, and
/// that the new list has a later resourceVersion.
async fn assert_expired(server: &Server, list: &str) {
    let version = |list: &str| -> u64 {
        let list: Value = serde_json::from_str(list).unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    let path = "/apis/kuma.io/v1alpha1/workloads";
    let old = version(list);
    let watch = get(server.kube, &format!("{path}?watch=true&resourceVersion={old}")).await;
    let (status, events) = watch.expect("a response");
    assert_eq!(status, 200, "{events}");
    let event: Value = serde_json::from_str(&events).expect("one event");
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()), "{events}");
    let (_, new) = get(server.kube, path).await.expect("a response");
    assert!(version(&new) > old, "{} after {old}", version(&new));
}

/// How often an informer has listed all Workloads.
fn lists(out: &str) -> usize {
    out.matches("\"init-done\"").count()
}

#[tokio::test]
async fn informers_see_no_deletion_and_no_new_uid() {
    let (mut server, mut agents) = three_agents().await;
    let Some(informers) = informers(&server) else { return };
    wait_for_store(&informers, &[("web", [3, 3, 3])]).await;
    for (signal, restarts) in SIGNALS.into_iter().zip(1..) {
        // With one proxy less, the counts differ from those before.
        agents[restarts].signal(Signal::KILL);
        let left = 3 - u32::try_from(restarts).unwrap();
        wait_for_store(&informers, &[("web", [left, left, 3])]).await;
        server.wait_until_stored().await;
        server.restart(signal).await;
        for informer in &informers {
            informer.wait_for_stdout("a new list", |out| (lists(out) > restarts).then_some(())).await;
        }
        wait_for_store(&informers, &[("web", [left, left, 3])]).await;
    }
    agents[1] = server.agent("web-2", &gateway("default", "web", "web-2"));
    wait_for_store(&informers, &[("web", [2, 2, 3])]).await;
    for informer in &informers {
        assert_never_less(&wait_until_last(informer, of_informer, [2, 2, 3]).await);
    }
}
