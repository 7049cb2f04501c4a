//! A process that watches all Workloads and comes back by itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use headcount::proto::{WatchWorkloadsRequest, workload_service_client::WorkloadServiceClient};
use tokio::{task::AbortHandle, time::sleep};

use crate::{
    client::{self, Life},
    fold::Fold,
    net::{Host, Network},
    trace::Trace,
};

/// The longest wait before the next attempt.
const RETRY_WITHIN: Duration = Duration::from_secs(1);

/// A watcher. Dropping it ends it where it stands; what it knows stays.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Mutex<Shared>>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Shared {
    fold: Fold,
    /// The first message that can't be.
    wrong: Option<String>,
}

impl Watcher {
    /// Goes on from what is known.
    pub fn start(network: &Network, host: Host, fold: Fold, trace: &Trace, random: Rng) -> Self {
        let shared = Arc::new(Mutex::new(Shared { fold, wrong: None }));
        let watch = watch_for_ever(network.clone(), host, Arc::clone(&shared), trace.clone(), random);
        Self { shared, task: tokio::spawn(watch).abort_handle() }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics with it")
    }

    pub fn fold(&self) -> Fold {
        self.shared().fold.clone()
    }

    /// Looks at what it knows.
    pub fn look<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.shared().fold)
    }

    pub fn wrong(&self) -> Option<String> {
        self.shared().wrong.clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch_for_ever(
    network: Network,
    host: Host,
    shared: Arc<Mutex<Shared>>,
    trace: Trace,
    mut random: Rng,
) {
    let name = format!("host-{host}");
    loop {
        if let Err(reason) = watch(&network, host, &name, &shared, &trace).await {
            trace.note(&name, format_args!("lost: {reason}"));
        }
        shared.lock().expect("nobody panics with it").fold.interrupted();
        sleep(RETRY_WITHIN.mul_f64(random.f64())).await;
    }
}

/// Watches until the stream ends.
async fn watch(
    network: &Network,
    host: Host,
    name: &str,
    shared: &Mutex<Shared>,
    trace: &Trace,
) -> Result<(), String> {
    let life = Life::default();
    let channel = client::connect(network.clone(), host, Arc::clone(&life)).await;
    let channel = channel.map_err(|error| error.to_string())?;
    let resume_token = shared.lock().expect("nobody panics with it").fold.token.clone();
    let request = WatchWorkloadsRequest { resume_token, ..WatchWorkloadsRequest::default() };
    let ended = |status: tonic::Status| format!("{:?}", status.code());
    let mut steps =
        WorkloadServiceClient::new(channel).watch_workloads(request).await.map_err(ended)?.into_inner();
    while let Some(step) = steps.message().await.map_err(ended)? {
        trace.note(
            name,
            format_args!(
                "{}revision {}, {} upserted, {} removed",
                if step.reset { "reset, " } else { "" },
                step.revision,
                step.upserted.len(),
                step.removed.len()
            ),
        );
        let mut shared = shared.lock().expect("nobody panics with it");
        if let Err(wrong) = shared.fold.take(life.load(Relaxed), step) {
            trace.note(name, format_args!("WRONG: {wrong}"));
            shared.wrong.get_or_insert(wrong);
        }
    }
    Ok(())
}
