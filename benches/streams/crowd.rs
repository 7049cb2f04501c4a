//! Proxies that come back: sessions of the real agent, each on a connection of
//! its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use headcount::{
    agent::{self, Session, SessionEnd, SessionEvent},
    model::{Attempt, Dataplane, Health, HealthState},
    net::backoff::{Backoff, Policy},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Endpoint};

use crate::support::typical;

/// Between the first attempts: the storm comes later.
const APART: Duration = Duration::from_micros(400);
/// A session that lasted this long starts the backoff over. Sooner than the
/// agent's, because so do the rounds.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);
/// For all to be where they should be.
const PATIENCE: Duration = Duration::from_mins(2);
/// Between looks at how many are up.
const LOOK: Duration = Duration::from_millis(5);

/// Gone when dropped.
#[derive(Debug)]
pub(crate) struct Crowd {
    proxies: usize,
    up: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Crowd {
    /// Starts to connect so many.
    pub(crate) fn start(uri: &str, proxies: usize) -> anyhow::Result<Self> {
        let (server, up) = (agent::endpoint(uri)?, Arc::default());
        let mut tasks = JoinSet::new();
        let mut wait = Duration::ZERO;
        for number in 0..proxies {
            let life = live(server.clone(), Arc::new(typical::dataplane(number)?), Arc::clone(&up));
            tasks.spawn(async move {
                sleep(wait).await;
                life.await;
            });
            wait += APART;
        }
        Ok(Self { proxies, up, _tasks: tasks })
    }

    /// Those whose first report was acknowledged.
    pub(crate) fn up(&self) -> usize {
        self.up.load(Relaxed)
    }

    pub(crate) async fn all_up(&self) -> anyhow::Result<()> {
        self.reach(self.proxies).await
    }

    pub(crate) async fn none_up(&self) -> anyhow::Result<()> {
        self.reach(0).await
    }

    async fn reach(&self, wanted: usize) -> anyhow::Result<()> {
        let reached = async {
            while self.up() != wanted {
                sleep(LOOK).await;
            }
        };
        timeout(PATIENCE, reached).await.with_context(|| format!("{} are up, not {wanted}", self.up()))
    }
}

/// One session after another, without end.
async fn live(server: Endpoint, dataplane: Arc<Dataplane>, up: Arc<AtomicUsize>) {
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, HealthState::Ready);
    let (_same, health) = watch::channel(health);
    let mut backoff = Backoff::new(Policy::Dataplane);
    loop {
        let began = Instant::now();
        let mut counted = None;
        let end = match server.connect().await {
            Ok(channel) => {
                let leave = CancellationToken::new();
                let session = Session {
                    channel,
                    dataplane: Arc::clone(&dataplane),
                    attempt: Attempt::default(),
                    health: health.clone(),
                    leave,
                };
                let note = |event: SessionEvent<'_>| {
                    if let SessionEvent::Acked { .. } = event {
                        counted.get_or_insert_with(|| Up::count(&up));
                    }
                };
                session.run(note).await
            }
            Err(error) => SessionEnd::Lost(Status::unavailable(error.to_string())),
        };
        drop(counted);
        if began.elapsed() >= SETTLED {
            backoff.reset();
        }
        sleep(backoff.next(end.retry_after())).await;
    }
}

/// One who is up, until dropped.
struct Up(Arc<AtomicUsize>);

impl Up {
    fn count(up: &Arc<AtomicUsize>) -> Self {
        up.fetch_add(1, Relaxed);
        Self(Arc::clone(up))
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
