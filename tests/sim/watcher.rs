//! A simulated process that watches Workloads and resumes the watch whenever it ends.

use std::{
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use headcount::proto::{
    WatchWorkloadsRequest, WorkloadFilter,
    watch_stream::{KEEPALIVE_INTERVAL, WatchStream},
    workload_service_client::WorkloadServiceClient,
};
use tokio::{task::AbortHandle, time::sleep};

use crate::{
    client::{self, ConnectedTo},
    dataplane::WorkloadKey,
    net::{Host, Network},
    replica::Replica,
    trace::Trace,
};

/// Longest delay before the next attempt.
const RETRY_WITHIN: Duration = Duration::from_secs(1);

/// The namespace that a watcher selects; all if none.
pub type NamespaceFilter = Option<&'static str>;

/// A running watcher. Dropping it aborts its process.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Mutex<Shared>>,
    namespace: NamespaceFilter,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct Shared {
    replica: Replica,
    /// The first invariant that a message broke.
    violation: Option<String>,
}

impl Watcher {
    /// Starts the process with this replica, from whose resume token the watch begins.
    pub fn start(
        network: &Network,
        host: Host,
        namespace: NamespaceFilter,
        replica: Replica,
        trace: &Trace,
        random: Rng,
    ) -> Self {
        let shared = Arc::new(Mutex::new(Shared { replica, violation: None }));
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
        self.shared.lock().expect("no panic while it is locked")
    }

    pub fn replica(&self) -> Replica {
        self.shared().replica.clone()
    }

    /// Reads the replica in place.
    pub fn with_replica<T>(&self, read: impl FnOnce(&Replica) -> T) -> T {
        read(&self.shared().replica)
    }

    /// Whether its filter selects this Workload.
    pub fn selects(&self, key: &WorkloadKey) -> bool {
        self.namespace.is_none_or(|namespace| namespace == key.0)
    }

    pub fn violation(&self) -> Option<String> {
        self.shared().violation.clone()
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
    namespace: NamespaceFilter,
    shared: Arc<Mutex<Shared>>,
    trace: Trace,
}

impl Process {
    async fn run(self, mut random: Rng) {
        loop {
            if let Err(reason) = self.watch().await {
                self.trace.record(&self.name, format_args!("watch ended: {reason}"));
            }
            self.shared().replica.interrupted();
            sleep(RETRY_WITHIN.mul_f64(random.f64())).await;
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().expect("no panic while it is locked")
    }

    /// Watches until the stream ends.
    async fn watch(&self) -> Result<(), String> {
        let connected_to = ConnectedTo::default();
        let channel = client::connect(self.network.clone(), self.host, Arc::clone(&connected_to)).await;
        let channel = channel.map_err(|error| error.to_string())?;
        let namespace = self.namespace.unwrap_or_default().to_owned();
        let filter = Some(WorkloadFilter { namespace, ..WorkloadFilter::default() });
        let resume_token = self.shared().replica.resume_token.clone();
        let request =
            WatchWorkloadsRequest { filter, resume_token, keepalive_interval: Some(KEEPALIVE_INTERVAL) };
        let ended = |status: tonic::Status| format!("{:?}", status.code());
        let mut client = WorkloadServiceClient::new(channel);
        let mut messages = WatchStream::open(client.watch_workloads(request)).await.map_err(ended)?;
        while let Some(message) = messages.message().await.map_err(ended)? {
            let reset = if message.reset { "reset, " } else { "" };
            let (revision, upserted, removed) =
                (message.revision, message.upserted.len(), message.removed.len());
            let event = format_args!("{reset}revision {revision}, {upserted} upserted, {removed} removed");
            self.trace.record(&self.name, event);
            let shared = &mut *self.shared();
            if let Err(violation) = shared.replica.apply(connected_to.load(Relaxed), message) {
                self.trace.record(&self.name, format_args!("VIOLATION: {violation}"));
                shared.violation.get_or_insert(violation);
            }
        }
        Ok(())
    }
}
