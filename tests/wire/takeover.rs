//! The newest session of a dataplane wins.

use headcount::proto::{Goodbye, HealthState, Hello, session_request::Message as Said};
use tonic::Code;

use crate::{
    proxy::{Line, health},
    support::{Server, assert_says, dataplane, still_serves},
};

#[tokio::test]
async fn the_older_session_is_aborted_and_nothing_is_counted_twice() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let mut older = server.proxy(dataplane("a", "web")).await;
    older.ready().await;
    watch.until_revision(server.list().await.revision).await;

    let mut newer = server.proxy(dataplane("a", "web")).await;
    assert_ne!(newer.welcome.session_id, older.welcome.session_id);
    let words = ["a newer session of this dataplane took over"];
    assert_says(&older.line.end().await, Code::Aborted, &words);
    // Its health is unknown until it says.
    assert_eq!(server.counts("web").await, (1, 0, 1));
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 0, 1), "one step, never 0 or 2 connected");

    // The older one's end has changed nothing: the next that is heard is the report.
    drop(older);
    newer.ready().await;
    watch.next().await;
    assert_eq!(watch.counts("web"), (1, 1, 1));
    still_serves(&server).await;
}

#[tokio::test]
async fn what_the_older_one_still_says_counts_for_nothing() {
    let server = Server::start().await;
    let mut older = server.proxy(dataplane("a", "web")).await;
    older.ready().await;
    let newer = server.proxy(dataplane("a", "web")).await;
    older.line.say(health(9, HealthState::Ready));
    older.line.say(Said::Goodbye(Goodbye {}));
    assert_eq!(older.line.end().await.code(), Code::Aborted);
    assert_eq!(server.counts("web").await, (1, 0, 1));
    newer.goodbye().await;
    assert_eq!(server.counts("web").await, (0, 0, 0));
    still_serves(&server).await;
}

/// A network may hold back what an agent has given up, until its next attempt is in.
#[tokio::test]
async fn what_one_agent_said_before_takes_over_nothing_from_what_it_said_later() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let attempt = |instance, attempt| {
        let dataplane = Some(dataplane("a", "web"));
        Said::Hello(Hello { dataplane, instance, attempt, ..Hello::default() })
    };
    let mut second = Line::open(server.connect().await).await;
    second.say(attempt(7, 2));
    second.hear().await;
    second.say(health(1, HealthState::Ready));
    second.hear().await;
    watch.until_revision(server.list().await.revision).await;

    let mut first = Line::open(server.connect().await).await;
    first.say(attempt(7, 1));
    first.hear().await;
    assert_eq!(first.end().await.code(), Code::Aborted);
    let head = server.list().await.revision;
    assert_eq!((server.counts("web").await, watch.revision), ((1, 1, 1), head), "nothing has happened");

    // Another agent has no older attempts; nor has one that does not say.
    for newer in [attempt(8, 1), attempt(0, 0)] {
        let mut line = Line::open(server.connect().await).await;
        line.say(newer);
        line.hear().await;
        assert_eq!(second.end().await.code(), Code::Aborted);
        second = line;
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
    let step = watch.next().await;
    assert_eq!((step.upserted.len(), step.removed.len()), (2, 0));
    assert_eq!((watch.counts("web"), watch.counts("api")), ((1, 1, 1), (1, 0, 1)));
    assert_eq!(older.line.end().await.code(), Code::Aborted);

    // The last one's move deletes the Workload it leaves, again in one message.
    let _newest = server.proxy(dataplane("b", "api")).await;
    let step = watch.next().await;
    assert_eq!((step.upserted.len(), step.removed.len()), (1, 1));
    assert_eq!(step.removed[0].name, "web");
    assert_eq!(watch.counts("api"), (2, 0, 2));
    assert_eq!(watch.workloads(), server.list().await.workloads);
    drop((newer, other));
}

#[tokio::test]
async fn of_many_takeovers_the_last_one_stays() {
    let server = Server::start().await;
    let mut current = server.proxy(dataplane("a", "web")).await;
    for _ in 0..20 {
        current.ready().await;
        let newer = server.proxy(dataplane("a", "web")).await;
        let mut older = std::mem::replace(&mut current, newer);
        assert_eq!(older.line.end().await.code(), Code::Aborted);
    }
    current.ready().await;
    assert_eq!(server.counts("web").await, (1, 1, 1));
    let series = r#"headcount_sessions_ended_total{reason="superseded"}"#;
    server.until_metric(series, 20).await;
    still_serves(&server).await;
}
