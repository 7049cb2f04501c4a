//! A few proxies whose health and connections change at random, for `headcount serve --demo`.

use std::{ops::Range, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{dataplane, health};
use crate::{
    agent::Session,
    model::{Attempt, Dataplane, Health, Invalid},
    net::client::{Connection, ServerEndpoint},
};

/// A stable workload, one whose applications often fail, and one whose proxies leave, so that its
/// Workload disappears from time to time: name, replicas, behaviour.
static WORKLOADS: [(&str, u32, Behaviour); 3] = [
    (
        "web",
        4,
        Behaviour { ready: 20..60, not_ready: 2..5, session: 60..180, exit: Exit::Crash, absence: 2..6 },
    ),
    (
        "payments",
        3,
        Behaviour { ready: 4..15, not_ready: 2..6, session: 90..200, exit: Exit::Crash, absence: 3..8 },
    ),
    (
        "nightly-batch",
        2,
        Behaviour { ready: 10..20, not_ready: 1..3, session: 8..18, exit: Exit::Goodbye, absence: 6..14 },
    ),
];

/// How a proxy behaves. Durations are in seconds and drawn at random from the ranges.
struct Behaviour {
    ready: Range<u64>,
    not_ready: Range<u64>,
    session: Range<u64>,
    exit: Exit,
    absence: Range<u64>,
}

/// How a proxy disconnects.
#[derive(Clone, Copy)]
enum Exit {
    /// Without a goodbye: it stays registered.
    Crash,
    /// With a goodbye, as after a scale-down.
    Goodbye,
}

/// Returns a future that runs all proxies until `shutdown` is cancelled; they then disconnect with
/// a goodbye. Call it within a tokio runtime, because it spawns the proxies.
///
/// # Errors
///
/// If a dataplane were invalid; those built in are valid.
pub fn run(
    server: &ServerEndpoint,
    shutdown: &CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, Invalid> {
    let connection = server.connect_lazy();
    let mut proxies = JoinSet::new();
    for (workload, replicas, behaviour) in &WORKLOADS {
        for replica in 0..*replicas {
            let dataplane = dataplane("default", "default", workload, format!("{workload}-{replica}"))?;
            proxies.spawn(run_proxy(connection.clone(), dataplane, behaviour, shutdown.clone()));
        }
    }
    Ok(async move { drop(proxies.join_all().await) })
}

/// Opens one session after the other.
async fn run_proxy(
    connection: Connection,
    dataplane: Arc<Dataplane>,
    behaviour: &'static Behaviour,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let (health_sender, health) = watch::channel(health(true));
        let leave = shutdown.child_token();
        let session = Session {
            connection: connection.clone(),
            dataplane: dataplane.clone(),
            attempt: Attempt::default(),
            health,
            leave: leave.clone(),
        };
        let mut session = std::pin::pin!(session.run(|_| {}));
        tokio::select! {
            _ = &mut session => {}
            () = flap(health_sender, behaviour) => {}
            () = sleep_random(&behaviour.session) => {
                if let Exit::Goodbye = behaviour.exit {
                    leave.cancel();
                    session.await;
                }
            }
        }
        tokio::select! {
            () = sleep_random(&behaviour.absence) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

/// Makes the application ready and not ready in turn, forever.
async fn flap(health_sender: watch::Sender<Health>, behaviour: &Behaviour) {
    loop {
        sleep_random(&behaviour.ready).await;
        health_sender.send_replace(health(false));
        sleep_random(&behaviour.not_ready).await;
        health_sender.send_replace(health(true));
    }
}

async fn sleep_random(seconds: &Range<u64>) {
    sleep(Duration::from_millis(fastrand::u64(seconds.start * 1_000..seconds.end * 1_000))).await;
}
