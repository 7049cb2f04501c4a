//! The responses of one `WatchWorkloads`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use tokio::time::timeout;

use crate::{
    convert,
    grpc::service::warming::warming,
    proto::{Encoded, server::WatchWorkloadsResponse},
    registry::{DeltaBatch, Encoding, Registry, Watcher, token},
    telemetry::metrics::DeliveryMetrics,
};

/// A quiet watch receives a bookmark this often while the server is warming. Deltas show most
/// watchers earlier that dataplanes are back, so a notification of all at once is not needed.
const WARMING_INTERVAL: Duration = Duration::from_secs(5);

/// One watch stream. Like a session's stream it is pulled: while the client's HTTP/2
/// window is full nothing is read from the log, so nothing queues up.
pub(super) struct Watch {
    registry: Registry,
    metrics: DeliveryMetrics,
    watcher: Watcher,
    fingerprint: u64,
    /// The revision of the last response that had `synced`.
    synced: Option<u64>,
    /// Whether the server may be warming. A server warms only when it starts, so a watch that has
    /// seen the end need not look again.
    warming: bool,
}

impl Watch {
    /// The watcher's filter has this fingerprint.
    pub(super) fn new(
        registry: Registry,
        metrics: DeliveryMetrics,
        watcher: Watcher,
        fingerprint: u64,
    ) -> Self {
        let warming = registry.warming().is_some();
        Self { registry, metrics, watcher, fingerprint, synced: None, warming }
    }

    /// Waits for the next response.
    pub(super) async fn next(&mut self) -> Encoded {
        if !self.warming {
            let batch = self.watcher.next().await;
            return Encoded(self.encode(&batch));
        }
        let remaining = self.registry.warming().map(|status| status.remaining).unwrap_or_default();
        match timeout(remaining.min(WARMING_INTERVAL), self.watcher.next()).await {
            Ok(batch) if batch.synced.is_none() => Encoded(self.encode(&batch)),
            Ok(batch) => {
                self.synced = batch.synced;
                let shared = self.encode(&batch);
                Encoded(self.with_warming(&shared))
            }
            // A watcher waits only after it has delivered everything up to `synced`.
            Err(_elapsed) => {
                let bookmark = self.position(self.synced).encode_to_vec();
                Encoded(self.with_warming(&bookmark))
            }
        }
    }

    /// The bytes, which watches with the same filter share.
    fn encode(&self, batch: &Arc<DeltaBatch>) -> Bytes {
        if let Some(oldest) = batch.oldest {
            self.metrics.delivered(oldest.elapsed());
        }
        batch.encoded(Encoding::Protobuf, |batch| self.response(batch).encode_to_vec().into())
    }

    fn response(&self, batch: &DeltaBatch) -> WatchWorkloadsResponse {
        WatchWorkloadsResponse {
            reset: batch.reset,
            upserted: batch.upserted().map(|workload| convert::encoded(workload)).collect(),
            removed: batch.removed().map(|(key, mesh)| convert::workload_ref(key, mesh)).collect(),
            ..self.position(batch.synced)
        }
    }

    /// A response that states only the revision, if there is one: a bookmark.
    fn position(&self, synced: Option<u64>) -> WatchWorkloadsResponse {
        let token = |revision| token::resume(&self.registry, revision, self.fingerprint);
        WatchWorkloadsResponse {
            synced: synced.is_some(),
            revision: synced.unwrap_or_default(),
            resume_token: synced.map(token).unwrap_or_default(),
            ..WatchWorkloadsResponse::default()
        }
    }

    /// Appends the current warming state to an encoded response: decoders merge concatenated
    /// messages into one. Shared bytes can't have it, because a slower watch sends them later.
    fn with_warming(&mut self, response: &[u8]) -> Bytes {
        let warming = warming(&self.registry);
        self.warming = warming.is_some();
        let state = WatchWorkloadsResponse { warming, ..WatchWorkloadsResponse::default() };
        [response, &state.encode_to_vec()].concat().into()
    }
}

/// The response that confirms a keepalive interval.
pub(super) fn confirmation(interval: Duration) -> Encoded {
    let keepalive_interval = Some(convert::duration(interval));
    let response = WatchWorkloadsResponse { keepalive_interval, ..WatchWorkloadsResponse::default() };
    Encoded(response.encode_to_vec().into())
}
