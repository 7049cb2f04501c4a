//! Sessions with `ServiceAccount` tokens: the cluster replaces its key, the kubelet replaces tokens, and
//! kube-apiserver reviews them. A stand-in has the role of kube-apiserver; `tests/cluster` has a real one.

mod agents;
mod keys;
mod kube_api;
mod session;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tonic::Code;

use self::{
    keys::Key,
    kube_api::{KubeApi, Reviews},
    session::Session,
};
use crate::support::{Server, Site, get, retry};

const HOUR: Duration = Duration::from_hours(1);

/// A server that accepts the tokens of a cluster with one key.
struct Fixture {
    server: Server,
    api: KubeApi,
    key: Key,
}

impl Fixture {
    async fn start() -> Self {
        let (site, key) = (Site::new(), Key::new("1"));
        let api = KubeApi::start(&site, vec![key.public()]).await;
        let (access, audit) = (api.access_file(&site), site.path("audit.log"));
        let flags = format!("--access-file {access} --audit-log {}", audit.display());
        Self { server: Server::start_at(site, &flags).await, api, key }
    }

    /// Opens sessions of the Pods `web-0`, `web-1` and so on, a hundred on each connection. Returns
    /// them with their names and tokens.
    async fn sessions(&self, count: usize) -> Vec<(String, String, Session)> {
        let mut sessions = Vec::new();
        let mut channel = self.server.connect().await;
        for number in 0..count {
            if number % 100 == 99 {
                channel = self.server.connect().await;
            }
            let name = format!("web-{number}");
            let token = self.key.token(&name, 0, HOUR);
            let session = Session::open(channel.clone(), &name, &token).await.unwrap();
            sessions.push((name, token, session));
        }
        sessions
    }

    /// The value of a series; none if there is no such line.
    async fn series(&self, series: &str) -> Option<u64> {
        let (_, metrics) = get(self.server.http, "/metrics").await?;
        metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    async fn assert_no_session_has_ended(&self) {
        let (_, metrics) = get(self.server.http, "/metrics").await.expect("a response");
        let ended = |line: &&str| line.starts_with("headcount_sessions_ended_total") && !line.ends_with(" 0");
        assert_eq!(metrics.lines().find(ended), None);
    }

    async fn wait_for_reviews(&self, outcome: &str, count: u64) {
        let series = format!("headcount_token_reviews_total{{outcome=\"{outcome}\"}}");
        retry(&format!("{count} reviews: {outcome}"), async || {
            self.series(&series).await.filter(|value| *value >= count)
        })
        .await;
    }
}

#[tokio::test]
async fn a_new_key_of_the_cluster_ends_no_session() {
    let fixture = Fixture::start().await;
    let mut sessions = fixture.sessions(300).await;
    let new = Key::new("2");
    fixture.api.publish(vec![fixture.key.public(), new.public()]);
    for (name, _, session) in &sessions {
        session.send_token(&new.token(name, 1, HOUR));
    }
    let acks = join_all(sessions.iter_mut().map(|(.., session)| session.is_alive(true))).await;
    assert!(acks.iter().all(|ack| ack.as_ref().is_some_and(|ack| ack.expires_at.is_some())));

    // The old key is removed when no session has a token of it.
    let channel = fixture.server.connect().await;
    let newest = Key::new("3");
    fixture.api.publish(vec![new.public(), newest.public()]);
    let token = newest.token("other", 0, HOUR);
    let opened = retry("a session with the newest key", async || {
        match Session::open(channel.clone(), "other", &token).await {
            Ok(session) => Some(session),
            Err(status) => {
                assert!(status.message().contains("there is no key with KID 3"), "{status:?}");
                None
            }
        }
    });
    drop(opened.await);
    for (.., session) in &mut sessions {
        session.is_alive(false).await;
    }
    let fetches = fixture.series("headcount_service_account_key_fetches_total{outcome=\"ok\"}").await;
    assert!(fetches.is_some_and(|fetches| fetches <= 4), "{fetches:?} fetches for 301 tokens");
}

#[tokio::test]
async fn a_failed_review_changes_nothing_and_a_rejection_ends_the_session_within_a_second() {
    let fixture = Fixture::start().await;
    let [(_, _, mut session)] = fixture.sessions(1).await.try_into().ok().expect("a session");
    fixture.wait_for_reviews("accepted", 1).await;
    for (failures, reviews) in [(1, Reviews::Ignore), (2, Reviews::Forbid)] {
        fixture.api.reviews(reviews);
        fixture.wait_for_reviews("failed", failures).await;
        session.is_alive(false).await;
    }
    fixture.assert_no_session_has_ended().await;
    fixture.api.reviews(Reviews::Reject);
    assert_eq!(session.end().await.code(), Code::Unauthenticated);

    // On a busy machine a round can be disturbed.
    let mut slowest = Vec::new();
    while slowest.len() < 3 {
        fixture.api.reviews(Reviews::Accept);
        let round = slowest.len();
        slowest.push(fixture.slowest_end(round).await);
        if slowest[round] < Duration::from_secs(1) {
            return;
        }
    }
    panic!("the sessions ended after {slowest:?}");
}

impl Fixture {
    /// Opens 20 sessions whose reviews are rejected, and returns the longest time from the response to the
    /// end of the session.
    async fn slowest_end(&self, round: usize) -> Duration {
        let channel = self.server.connect().await;
        let tokens = (0..20).map(|number| {
            let name = format!("round-{round}-{number}");
            (self.key.token(&name, 0, HOUR), name)
        });
        let tokens: Vec<_> = tokens.collect();
        let open = tokens.iter().map(|(token, name)| Session::open(channel.clone(), name, token));
        let mut sessions: Vec<_> = join_all(open).await.into_iter().map(Result::unwrap).collect();
        self.api.reviews(Reviews::Reject);
        let ends = sessions.iter_mut().map(async |session| {
            let status = session.end().await;
            assert!(
                status.message().contains("kube-apiserver rejects the ServiceAccount token"),
                "{status:?}"
            );
            Instant::now()
        });
        let ends = join_all(ends).await;
        let after = ends.iter().zip(&tokens).map(|(end, (token, _))| {
            end.duration_since(self.api.rejected_at(token).expect("a rejected review"))
        });
        after.max().expect("sessions")
    }
}
