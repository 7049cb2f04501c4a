//! Takeovers: a new session of a dataplane replaces the previous one, unless two living processes
//! register the same dataplane.

use std::time::Duration;

use headcount::proto::{
    Event, Goodbye, HealthState, Hello, ListEventsRequest, session_request::Message as Request,
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    proxy::{Proxy, SessionStream, health},
    support::{Server, assert_status, dataplane, still_serves},
};

#[tokio::test]
async fn a_takeover_aborts_the_older_session_and_counts_the_dataplane_once() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let mut older = server.proxy(dataplane("a", "web")).await;
    older.ready().await;
    watch.read_until_revision(server.list().await.revision).await;

    let mut newer = server.proxy(dataplane("a", "web")).await;
    assert_ne!(newer.welcome.session_id, older.welcome.session_id);
    let parts = ["a newer session of this dataplane took over"];
    assert_status(&older.stream.end().await, Code::Aborted, &parts);
    // The health of the new session is unknown until its first report.
    assert_eq!(server.counts("web").await, (1, 0, 1));
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1), "one change, never 0 or 2 connected");

    // The end of the older session changes nothing: the next message is about the report.
    drop(older);
    newer.ready().await;
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    still_serves(&server).await;
}

#[tokio::test]
async fn messages_of_a_superseded_session_are_ignored() {
    let server = Server::start().await;
    let mut older = server.proxy(dataplane("a", "web")).await;
    older.ready().await;
    let newer = server.proxy(dataplane("a", "web")).await;
    older.stream.send(health(9, HealthState::Ready));
    older.stream.send(Request::Goodbye(Goodbye {}));
    assert_eq!(older.stream.end().await.code(), Code::Aborted);
    assert_eq!(server.counts("web").await, (1, 0, 1));
    newer.goodbye().await;
    assert_eq!(server.counts("web").await, (0, 0, 0));
    still_serves(&server).await;
}

/// The hello of an agent of dataplane `a`.
fn attempt(instance: u64, attempt: u32) -> Request {
    Request::Hello(Hello { dataplane: Some(dataplane("a", "web")), instance, attempt, ..Hello::default() })
}

/// A network may deliver the hello of an abandoned attempt after the agent's next attempt was admitted.
#[tokio::test]
async fn a_stale_attempt_of_an_agent_does_not_take_over_from_a_later_one() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let mut second = SessionStream::open(server.connect().await).await;
    second.send(attempt(7, 2));
    second.receive().await;
    second.send(health(1, HealthState::Ready));
    second.receive().await;
    watch.read_until_revision(server.list().await.revision).await;

    let mut first = SessionStream::open(server.connect().await).await;
    first.send(attempt(7, 1));
    assert_eq!(first.end().await.code(), Code::Aborted);
    let head = server.list().await.revision;
    assert_eq!((server.counts("web").await, watch.revision), ((1, 1, 1), head), "nothing has changed");

    // Attempts are compared within one agent instance only, and only if the hello states one.
    for newer in [attempt(8, 1), attempt(0, 0)] {
        let mut stream = SessionStream::open(server.connect().await).await;
        stream.send(newer);
        stream.receive().await;
        assert_eq!(second.end().await.code(), Code::Aborted);
        second = stream;
    }
    assert_eq!(server.counts("web").await, (1, 0, 1));
    still_serves(&server).await;
}

#[tokio::test]
async fn a_takeover_moves_to_another_workload_in_one_message() {
    let server = Server::start().await;
    let mut other = server.proxy(dataplane("b", "web")).await;
    other.ready().await;
    let mut older = server.proxy(dataplane("a", "web")).await;
    older.ready().await;
    let mut watch = server.watch().await;
    assert_eq!(watch.counts("web"), (2, 2, 2));

    let newer = server.proxy(dataplane("a", "api")).await;
    let delta = watch.next().await;
    assert_eq!((delta.upserted.len(), delta.removed.len()), (2, 0));
    assert_eq!((watch.counts("web"), watch.counts("api")), ((1, 1, 1), (1, 0, 1)));
    assert_eq!(older.stream.end().await.code(), Code::Aborted);

    // When the last dataplane moves, the Workload it leaves is deleted, again in one message.
    let _newest = server.proxy(dataplane("b", "api")).await;
    let delta = watch.next().await;
    assert_eq!((delta.upserted.len(), delta.removed.len()), (1, 1));
    assert_eq!(delta.removed[0].name, "web");
    assert_eq!(watch.counts("api"), (2, 0, 2));
    assert_eq!(watch.workloads(), server.list().await.workloads);
    drop((newer, other));
}

#[tokio::test]
async fn after_many_takeovers_the_last_session_remains() {
    let server = Server::start().await;
    // On one connection, so that all are the same client.
    let channel = server.connect().await;
    let mut current = Proxy::connect(channel.clone(), dataplane("a", "web")).await;
    for _ in 0..20 {
        current.ready().await;
        let newer = Proxy::connect(channel.clone(), dataplane("a", "web")).await;
        let mut older = std::mem::replace(&mut current, newer);
        assert_eq!(older.stream.end().await.code(), Code::Aborted);
    }
    current.ready().await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    let series = r#"headcount_sessions_ended_total{reason="superseded"}"#;
    server.wait_for_metric(series, 20).await;
    still_serves(&server).await;
}

async fn events(server: &Server) -> Vec<Event> {
    server.events().list_events(ListEventsRequest::default()).await.unwrap().into_inner().events
}

#[tokio::test]
async fn of_two_processes_that_restart_forever_one_is_held_off_until_the_other_leaves() {
    let server = Server::start().await;
    let mut first = SessionStream::open(server.connect().await).await;
    first.send(attempt(1, 1));
    first.receive().await;
    let mut second = SessionStream::open(server.connect().await).await;
    second.send(attempt(2, 1));
    second.receive().await;
    let ended = first.end().await;
    assert_status(&ended, Code::Aborted, &["took over, from 127.0.0.1:", "(instance 0000000000000002)"]);
    second.send(health(1, HealthState::Ready));
    second.receive().await;
    let head = server.list().await.revision;

    // A supervisor starts the first one again, and again.
    for instance in 3..6 {
        let mut again = SessionStream::open(server.connect().await).await;
        again.send(attempt(instance, 1));
        let ended = again.end().await;
        let parts = ["another process with the identity of this dataplane is connected", "stop one of them"];
        assert_status(&ended, Code::ResourceExhausted, &parts);
        let retry_after = ended.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(retry_after, Some(Duration::from_secs(1 << (instance - 3))));
        second.send(health(instance, HealthState::Ready));
        second.receive().await;
    }
    assert_eq!((server.list().await.revision, server.counts("web").await), (head, (1, 1, 1)));
    let [event] = <[Event; 1]>::try_from(events(&server).await).unwrap();
    assert_eq!((event.reason.as_str(), event.dataplane.as_str()), ("DuplicateIdentity", "a"));
    assert!(event.message.contains("(instance 0000000000000002) is connected"), "{}", event.message);
    assert_eq!(server.scrape().await.value("headcount_sessions_held_off_total"), Some(3));

    second.send(Request::Goodbye(Goodbye {}));
    assert_eq!(second.end().await.code(), Code::Ok);
    let mut again = SessionStream::open(server.connect().await).await;
    again.send(attempt(5, 2));
    again.receive().await;
    assert_eq!(server.counts("web").await, (1, 0, 1));
}
