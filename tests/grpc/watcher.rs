//! A client of `WatchWorkloads` that applies every message to a copy of the server's state.

use std::collections::BTreeMap;

use headcount::proto::{
    WatchWorkloadsRequest, WatchWorkloadsResponse, Workload, WorkloadFilter,
    workload_service_client::WorkloadServiceClient,
};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::support::{Counts, counts_of, in_time};

/// A watch stream and the state it has delivered so far.
pub struct Watcher {
    pub stream: Streaming<WatchWorkloadsResponse>,
    /// Keyed by namespace and name, as the protocol defines.
    pub state: BTreeMap<(String, String), Workload>,
    /// Revision of the last message with `synced`.
    pub revision: u64,
    /// Resume token of the last message with `synced`.
    pub token: String,
    /// Number of received messages.
    pub messages: usize,
}

impl Watcher {
    /// Opens the stream without reading from it.
    pub async fn open(
        mut client: WorkloadServiceClient<Channel>,
        filter: WorkloadFilter,
        token: &str,
    ) -> Self {
        let request = WatchWorkloadsRequest {
            filter: Some(filter),
            resume_token: token.into(),
            ..WatchWorkloadsRequest::default()
        };
        let stream = in_time("a watch", client.watch_workloads(request)).await;
        Self {
            stream: stream.expect("a watch").into_inner(),
            state: BTreeMap::new(),
            revision: 0,
            token: String::new(),
            messages: 0,
        }
    }

    /// Applies and returns the next message. The stream must not end before it.
    pub async fn next(&mut self) -> WatchWorkloadsResponse {
        let message = in_time("a message", self.stream.message()).await;
        let message = message.expect("a message, no error").expect("a message, no end");
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
            assert!(known.is_some(), "{key:?} was removed but is not known");
        }
        if message.synced {
            assert!(message.revision >= self.revision, "revisions never decrease");
            self.revision = message.revision;
            self.token.clone_from(&message.resume_token);
        }
    }

    /// Reads up to the next message with `synced`.
    pub async fn read_until_synced(&mut self) {
        while !self.next().await.synced {}
    }

    /// Reads until the watch is in sync at this revision or a later one.
    pub async fn read_until_revision(&mut self, revision: u64) {
        while self.revision < revision {
            self.next().await;
        }
    }

    /// Applies all further messages, and returns the status of the stream.
    pub async fn end(&mut self) -> Status {
        loop {
            match in_time("the end of the stream", self.stream.message()).await {
                Ok(Some(message)) => self.apply(&message),
                Ok(None) => return Status::new(Code::Ok, ""),
                Err(status) => return status,
            }
        }
    }

    /// Counts of a Workload in the default namespace; zeros if it does not exist.
    pub fn counts(&self, name: &str) -> Counts {
        let key = ("default".to_owned(), name.to_owned());
        self.state.get(&key).map(counts_of).unwrap_or_default()
    }

    /// All Workloads, in the order of `ListWorkloads`.
    pub fn workloads(&self) -> Vec<Workload> {
        self.state.values().cloned().collect()
    }
}
