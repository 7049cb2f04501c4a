//! Clients that reconnect: sessions of the real agent, with its backoff, each on a connection of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use headcount::{
    agent::{Session, SessionEnd, SessionEvent},
    model::{Attempt, Dataplane, Health, HealthState},
    net::{
        backoff::{Backoff, Policy},
        client::ServerEndpoint,
    },
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{remote::Remote, support::typical};

/// Time between the first attempts, which are not the storm.
const START_INTERVAL: Duration = Duration::from_micros(400);
/// A session that has lasted this long resets the backoff: earlier than the agent's, because the rounds are
/// short.
pub(crate) const BACKOFF_RESET_AFTER: Duration = Duration::from_secs(5);
/// Longest time until all agents are connected, or all are disconnected.
const TIMEOUT: Duration = Duration::from_mins(2);
/// Time between two checks of how many are connected.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Running agents. They are aborted when this is dropped.
#[derive(Debug)]
pub(crate) struct Agents {
    proxies: usize,
    connected: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Agents {
    /// Starts this many agents, one after another.
    pub(crate) fn start(remote: Remote, proxies: usize) -> anyhow::Result<Self> {
        let (server, connected) = (remote.agent_endpoint()?, Arc::default());
        let mut tasks = JoinSet::new();
        let mut delay = Duration::ZERO;
        for number in 0..proxies {
            let (dataplane, token) = (Arc::new(typical::dataplane(number)?), remote.token(number)?);
            let agent = run_agent(server.clone(), token, dataplane, Arc::clone(&connected));
            tasks.spawn(async move {
                sleep(delay).await;
                agent.await;
            });
            delay += START_INTERVAL;
        }
        Ok(Self { proxies, connected, _tasks: tasks })
    }

    /// Number of agents whose first report has been acknowledged.
    pub(crate) fn connected(&self) -> usize {
        self.connected.load(Relaxed)
    }

    pub(crate) async fn until_all_connected(&self) -> anyhow::Result<()> {
        self.until(self.proxies).await
    }

    pub(crate) async fn until_none_connected(&self) -> anyhow::Result<()> {
        self.until(0).await
    }

    async fn until(&self, wanted: usize) -> anyhow::Result<()> {
        let reached = async {
            while self.connected() != wanted {
                sleep(POLL_INTERVAL).await;
            }
        };
        timeout(TIMEOUT, reached)
            .await
            .with_context(|| format!("{} are connected, not {wanted}", self.connected()))
    }
}

/// Opens one session after another, forever.
async fn run_agent(
    server: ServerEndpoint,
    token: Option<watch::Receiver<String>>,
    dataplane: Arc<Dataplane>,
    connected: Arc<AtomicUsize>,
) {
    let mut health = Health::of_proxy(HealthState::Ready);
    health.set_inbound(0, HealthState::Ready);
    let (_sender, health) = watch::channel(health);
    let mut backoff = Backoff::new(Policy::Dataplane);
    loop {
        let began = Instant::now();
        let mut counted = None;
        let end = match server.connect().await {
            Ok(connection) => {
                let leave = CancellationToken::new();
                let session = Session {
                    connection: match &token {
                        Some(token) => connection.with_tokens(token.clone()),
                        None => connection,
                    },
                    dataplane: Arc::clone(&dataplane),
                    attempt: Attempt::default(),
                    health: health.clone(),
                    leave,
                };
                let on_event = |event: SessionEvent<'_>| {
                    if let SessionEvent::Acked { .. } = event {
                        counted.get_or_insert_with(|| Connected::count(&connected));
                    }
                };
                session.run(on_event).await
            }
            Err(error) => SessionEnd::Lost(Status::unavailable(error.to_string())),
        };
        drop(counted);
        if began.elapsed() >= BACKOFF_RESET_AFTER {
            backoff.reset();
        }
        sleep(backoff.next(end.retry_after())).await;
    }
}

/// Counts an agent as connected until dropped.
struct Connected(Arc<AtomicUsize>);

impl Connected {
    fn count(connected: &Arc<AtomicUsize>) -> Self {
        connected.fetch_add(1, Relaxed);
        Self(Arc::clone(connected))
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
