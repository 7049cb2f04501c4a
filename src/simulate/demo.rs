//! A handful of proxies with lives of their own, for a newcomer to watch.

use std::{ops::Range, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use super::{dataplane, health};
use crate::{
    agent::Session,
    model::{Attempt, Dataplane, Invalid},
};

/// Three workloads: one calm, one whose applications falter, and one whose
/// proxies come and go, so that its Workload now and then disappears.
static CAST: [(&str, u32, Temper); 3] = [
    ("web", 4, Temper { ready: 20..60, faltering: 2..5, sessions: 60..180, exit: Exit::Cut, away: 2..6 }),
    ("payments", 3, Temper { ready: 4..15, faltering: 2..6, sessions: 90..200, exit: Exit::Cut, away: 3..8 }),
    (
        "nightly-batch",
        2,
        Temper { ready: 10..20, faltering: 1..3, sessions: 8..18, exit: Exit::Goodbye, away: 6..14 },
    ),
];

/// How a proxy lives; all times in seconds.
struct Temper {
    ready: Range<u64>,
    faltering: Range<u64>,
    sessions: Range<u64>,
    exit: Exit,
    away: Range<u64>,
}

/// How it leaves.
#[derive(Clone, Copy)]
enum Exit {
    /// As a crash: it stays registered.
    Cut,
    /// As a scale-down.
    Goodbye,
}

/// Plays until `curtain` is cancelled; then all say goodbye. Call it within a
/// runtime.
pub fn play(
    server: &Endpoint,
    curtain: &CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, Invalid> {
    let channel = server.connect_lazy();
    let mut proxies = JoinSet::new();
    for (workload, replicas, temper) in &CAST {
        for replica in 0..*replicas {
            let dataplane = dataplane("default", "default", workload, format!("{workload}-{replica}"))?;
            proxies.spawn(live(channel.clone(), dataplane, temper, curtain.clone()));
        }
    }
    Ok(async move { drop(proxies.join_all().await) })
}

async fn live(
    channel: Channel,
    dataplane: Arc<Dataplane>,
    temper: &'static Temper,
    curtain: CancellationToken,
) {
    while !curtain.is_cancelled() {
        let (application, health) = watch::channel(health(true));
        let leave = curtain.child_token();
        let session = Session {
            channel: channel.clone(),
            dataplane: dataplane.clone(),
            attempt: Attempt::default(),
            health,
            leave: leave.clone(),
        };
        let mut session = std::pin::pin!(session.run(|_| {}));
        tokio::select! {
            _ = &mut session => {}
            () = falter(application, temper) => {}
            () = pause(&temper.sessions) => {
                if let Exit::Goodbye = temper.exit {
                    leave.cancel();
                    session.await;
                }
            }
        }
        tokio::select! {
            () = pause(&temper.away) => {}
            () = curtain.cancelled() => {}
        }
    }
}

/// The application is ready for a while, then not, and so on.
async fn falter(application: watch::Sender<crate::model::Health>, temper: &Temper) {
    loop {
        pause(&temper.ready).await;
        application.send_replace(health(false));
        pause(&temper.faltering).await;
        application.send_replace(health(true));
    }
}

async fn pause(seconds: &Range<u64>) {
    sleep(Duration::from_millis(fastrand::u64(seconds.start * 1_000..seconds.end * 1_000))).await;
}
