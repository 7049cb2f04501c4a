//! More sessions than a balancer's defaults allow.

use tokio::{task::JoinSet, time::timeout};

use crate::{
    fixture::{Fixture, WORKLOAD, with_each_balancer},
    support::{DEADLINE, Proxy, dataplane, hello, ready},
};

/// With [`SESSIONS`] more than the 1,024 requests of an Envoy cluster.
const CONNECTIONS: u32 = 8;
/// Sessions of a connection: more than the 100 streams of haproxy and the 128 of nginx.
const SESSIONS: u32 = 138;

#[tokio::test]
async fn a_crowd_is_counted_exactly() {
    with_each_balancer(async |kind, program| {
        let fixture = Fixture::start(kind, program, "").await;
        let mut watch = fixture.server.watch(WORKLOAD).await;
        let mut connections = JoinSet::new();
        for connection in 0..CONNECTIONS {
            let channel = fixture.connect().await;
            connections.spawn(async move {
                let mut sessions = Vec::new();
                for session in 0..SESSIONS {
                    let dataplane = dataplane("default", WORKLOAD, &format!("web-{connection}-{session}"));
                    sessions.push(Proxy::open(channel.clone(), [hello(dataplane), ready()]).await);
                }
                sessions
            });
        }
        let sessions = timeout(DEADLINE, connections.join_all()).await;
        let sessions = sessions.unwrap_or_else(|_| panic!("{kind:?} does not pass on all sessions"));
        watch.until(Some([CONNECTIONS * SESSIONS; 3])).await;
        drop(sessions);
        watch.until(Some([0, 0, CONNECTIONS * SESSIONS])).await;
    })
    .await;
}
