//! `BackupService`: everything that the data directory has, as a stream of chunks.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    grpc::connection::{ConnectionAge, Lifetime, until_end},
    net::rejection::rejection,
    proto::{CreateBackupRequest, CreateBackupResponse, server::backup_service_server::BackupService},
    store::{Stores, backup::Chunks},
};

/// Longest time for one chunk: for the store to be read, and for the client to read the chunk before
/// it.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time for a whole backup. The backup of 100,000 dataplanes has about 60 MB.
const BACKUP_TIMEOUT: Duration = Duration::from_mins(10);
/// The retry delay while another backup is made, which usually takes less than a second.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The service.
#[derive(Debug, Clone)]
pub(in crate::grpc) struct Backups {
    stores: Option<Stores>,
    /// One place: a backup takes as much memory as the entries of a store.
    place: Arc<Semaphore>,
    shutdown: CancellationToken,
}

impl Backups {
    /// A server without `stores` makes no backups. Those in progress end when `shutdown` is cancelled.
    pub(in crate::grpc) fn new(stores: Option<Stores>, shutdown: CancellationToken) -> Self {
        Self { stores, place: Arc::new(Semaphore::new(1)), shutdown }
    }
}

#[tonic::async_trait]
impl BackupService for Backups {
    type CreateBackupStream = Pin<Box<dyn Stream<Item = Result<CreateBackupResponse, Status>> + Send>>;

    async fn create_backup(
        &self,
        request: Request<CreateBackupRequest>,
    ) -> Result<Response<Self::CreateBackupStream>, Status> {
        let lifetime = Lifetime::new(&self.shutdown, ConnectionAge::of(&request));
        let Some(stores) = &self.stores else {
            return Err(rejection(
                Code::FailedPrecondition,
                "the server has no data directory, so there is nothing to back up (start it with --data-dir)",
            ));
        };
        let Ok(place) = Arc::clone(&self.place).try_acquire_owned() else { return Err(busy()) };
        let chunks = Chunks::new(stores, SystemTime::now());
        // One chunk waits while the next one is made.
        let (sender, receiver) = mpsc::channel(1);
        // A task, so that a client that does not read can't keep the place: its stream is not polled.
        tokio::spawn(send(chunks, sender, place));
        let responses = stream::unfold(Some(receiver), |receiver| async { next(receiver?).await });
        Ok(Response::new(Box::pin(until_end(responses, lifetime).map(Result::flatten))))
    }
}

/// A part of a backup; none is its end.
type Part = Result<Option<Bytes>, Status>;

/// Sends the chunks of a backup, until it is complete or a timeout has passed.
async fn send(mut chunks: Chunks, sender: mpsc::Sender<Part>, place: OwnedSemaphorePermit) {
    let _place = place;
    let end = Instant::now() + BACKUP_TIMEOUT;
    loop {
        let deadline = end.min(Instant::now() + CHUNK_TIMEOUT);
        let step = async {
            let part = chunks.next().await.map_err(|error| Status::internal(error.to_string()));
            let is_last = !matches!(part, Ok(Some(_)));
            let sent = sender.send(part).await;
            (sent.is_err() || is_last).then_some(())
        };
        match timeout_at(deadline, step).await {
            Ok(None) => {}
            // Complete, or the client has gone; after a timeout the receiver finds the channel closed.
            Ok(Some(())) | Err(_) => return,
        }
    }
}

type Receiver = mpsc::Receiver<Part>;

/// The next response, and what is left of the stream.
async fn next(mut parts: Receiver) -> Option<(Result<CreateBackupResponse, Status>, Option<Receiver>)> {
    match parts.recv().await {
        Some(Ok(Some(chunk))) => Some((Ok(CreateBackupResponse { chunk }), Some(parts))),
        Some(Ok(None)) => None,
        Some(Err(status)) => Some((Err(status), None)),
        None => Some((Err(timed_out()), None)),
    }
}

fn timed_out() -> Status {
    Status::deadline_exceeded(format!(
        "the backup is not complete: the client or the disk was too slow (limits: {CHUNK_TIMEOUT:?} for a chunk, \
         {BACKUP_TIMEOUT:?} in all)"
    ))
}

fn busy() -> Status {
    let details = ErrorDetails::with_retry_info(Some(RETRY_AFTER.mul_f64(1.0 + fastrand::f64())));
    let message = "the server makes another backup at this moment: try again in a few seconds";
    Status::with_error_details(Code::ResourceExhausted, message, details)
}
