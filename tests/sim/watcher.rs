//! A process that watches Workloads and comes back by itself.

use std::{
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use headcount::proto::{
    WatchWorkloadsRequest, WorkloadFilter, workload_service_client::WorkloadServiceClient,
};
use tokio::{task::AbortHandle, time::sleep};

use crate::{
    client::{self, Life},
    dataplane::Place,
    fold::Fold,
    net::{Host, Network},
    trace::Trace,
};

/// The longest wait before the next attempt.
const RETRY_WITHIN: Duration = Duration::from_secs(1);

/// What one watches; none is all.
pub type Namespace = Option<&'static str>;

/// A watcher. Dropping it ends it where it stands; what it knows stays.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Mutex<Shared>>,
    namespace: Namespace,
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
    pub fn start(
        network: &Network,
        host: Host,
        namespace: Namespace,
        fold: Fold,
        trace: &Trace,
        random: Rng,
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared { fold, wrong: None }));
        let process = Process {
            network: network.clone(),
            host,
            name: format!("host-{host}"),
            namespace,
            shared: Arc::clone(&shared),
            trace: trace.clone(),
        };
        Self { shared, namespace, task: tokio::spawn(process.run(random)).abort_handle() }
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

    /// Whether it watches what is there.
    pub fn wants(&self, place: &Place) -> bool {
        self.namespace.is_none_or(|namespace| namespace == place.0)
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

/// What runs on the watcher's host.
struct Process {
    network: Network,
    host: Host,
    name: String,
    namespace: Namespace,
    shared: Arc<Mutex<Shared>>,
    trace: Trace,
}

impl Process {
    async fn run(self, mut random: Rng) {
        loop {
            if let Err(reason) = self.watch().await {
                self.trace.note(&self.name, format_args!("lost: {reason}"));
            }
            self.shared().fold.interrupted();
            sleep(RETRY_WITHIN.mul_f64(random.f64())).await;
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("nobody panics with it")
    }

    /// Watches until the stream ends.
    async fn watch(&self) -> Result<(), String> {
        let life = Life::default();
        let channel = client::connect(self.network.clone(), self.host, Arc::clone(&life)).await;
        let channel = channel.map_err(|error| error.to_string())?;
        let namespace = self.namespace.unwrap_or_default().to_owned();
        let filter = Some(WorkloadFilter { namespace, ..WorkloadFilter::default() });
        let request = WatchWorkloadsRequest { filter, resume_token: self.shared().fold.token.clone() };
        let ended = |status: tonic::Status| format!("{:?}", status.code());
        let mut client = WorkloadServiceClient::new(channel);
        let mut steps = client.watch_workloads(request).await.map_err(ended)?.into_inner();
        while let Some(step) = steps.message().await.map_err(ended)? {
            let reset = if step.reset { "reset, " } else { "" };
            let (revision, upserted, removed) = (step.revision, step.upserted.len(), step.removed.len());
            let what = format_args!("{reset}revision {revision}, {upserted} upserted, {removed} removed");
            self.trace.note(&self.name, what);
            let shared = &mut *self.shared();
            if let Err(wrong) = shared.fold.take(life.load(Relaxed), step) {
                self.trace.note(&self.name, format_args!("WRONG: {wrong}"));
                shared.wrong.get_or_insert(wrong);
            }
        }
        Ok(())
    }
}
