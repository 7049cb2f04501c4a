//! A watcher: folds what it is told into what there is.

use std::collections::BTreeMap;

use headcount::proto::{
    WatchWorkloadsRequest, WatchWorkloadsResponse, Workload, WorkloadFilter,
    workload_service_client::WorkloadServiceClient,
};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::{Counts, counts_of, soon};

pub struct Fold {
    pub stream: Streaming<WatchWorkloadsResponse>,
    /// By namespace and name, as the protocol says.
    pub state: BTreeMap<(String, String), Workload>,
    /// Of the last message that was in sync.
    pub revision: u64,
    pub token: String,
    /// Messages that were received.
    pub messages: usize,
}

impl Fold {
    /// Opens the stream and reads nothing.
    pub async fn open(
        mut client: WorkloadServiceClient<Channel>,
        filter: WorkloadFilter,
        token: &str,
    ) -> Self {
        let request = WatchWorkloadsRequest {
            filter: Some(filter),
            resume_token: token.into(),
        };
        let stream = soon("a watch", client.watch_workloads(request)).await;
        Self {
            stream: stream.expect("a watch").into_inner(),
            state: BTreeMap::new(),
            revision: 0,
            token: String::new(),
            messages: 0,
        }
    }

    /// The next message, folded; it must not be the end.
    pub async fn next(&mut self) -> WatchWorkloadsResponse {
        let message = soon("a message", self.stream.message()).await;
        let message = message.expect("a message, no status").expect("a message, no end");
        self.apply(&message);
        message
    }

    fn apply(&mut self, message: &WatchWorkloadsResponse) {
        self.messages += 1;
        if message.reset {
            self.state.clear();
        }
        for workload in &message.upserted {
            let key = (workload.namespace.clone(), workload.name.clone());
            self.state.insert(key, workload.clone());
        }
        for gone in &message.removed {
            let key = (gone.namespace.clone(), gone.name.clone());
            let known = self.state.remove(&key);
            assert!(known.is_some(), "{key:?} was removed but never there");
        }
        if message.synced {
            assert!(message.revision >= self.revision, "revisions never go back");
            self.revision = message.revision;
            self.token.clone_from(&message.resume_token);
        }
    }

    /// Reads on to a message that says it is in sync.
    pub async fn until_synced(&mut self) {
        while !self.next().await.synced {}
    }

    /// Reads on until a revision is reached.
    pub async fn until_revision(&mut self, revision: u64) {
        while self.revision < revision {
            self.next().await;
        }
    }

    /// How the stream ends; messages before it are folded.
    pub async fn end(&mut self) -> Status {
        loop {
            match soon("the end", self.stream.message()).await {
                Ok(Some(message)) => self.apply(&message),
                Ok(None) => return Status::new(Code::Ok, ""),
                Err(status) => return status,
            }
        }
    }

    /// Of a Workload in the default namespace; zeros if it is not there.
    pub fn counts(&self, name: &str) -> Counts {
        let key = ("default".to_owned(), name.to_owned());
        self.state.get(&key).map(counts_of).unwrap_or_default()
    }

    /// All there is, in the order of a listing.
    pub fn workloads(&self) -> Vec<Workload> {
        self.state.values().cloned().collect()
    }
}
