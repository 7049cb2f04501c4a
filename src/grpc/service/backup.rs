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
    access::{Action, OwnedObject},
    audit::{AuditedCall, Operation, Subject},
    grpc::{
        access::caller,
        connection::{ConnectionAge, Lifetime, until_end},
    },
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
        let caller = caller(&request)?;
        let right = caller.allow_live(Action::Backup, OwnedObject::Server)?;
        let started = self.start(&request, right);
        match &started {
            Ok(_) => caller.done(Operation::Backup, Subject::Server, &"the backup begins"),
            Err(status) => caller.failed(Operation::Backup, Subject::Server, status),
        }
        started
    }
}

impl Backups {
    fn start(
        &self,
        request: &Request<CreateBackupRequest>,
        right: AuditedCall,
    ) -> Result<Response<<Self as BackupService>::CreateBackupStream>, Status> {
        let lifetime = Lifetime::new(&self.shutdown, ConnectionAge::of(request), right);
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
        let responses = stream::unfold(Some(receiver), async |receiver| next(receiver?).await);
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

/// The next response, and the parts that are left; none after the last one.
async fn next(
    mut parts: mpsc::Receiver<Part>,
) -> Option<(Result<CreateBackupResponse, Status>, Option<mpsc::Receiver<Part>>)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        grpc::access::tests::trusted,
        store::{
            Expected, MemoryStore, Store, Write,
            backup::{Check, Summary},
        },
    };

    type Responses = <Backups as BackupService>::CreateBackupStream;

    /// A service whose backup has this many chunks and a few bytes more.
    async fn service(chunks: usize) -> Backups {
        let (registrations, resources) = (MemoryStore::new(), MemoryStore::new());
        let write = |n| Write {
            key: format!("{n:04}").into(),
            expected: Expected::Absent,
            value: Some(vec![0; 48 << 10].into()),
        };
        registrations.commit((0..chunks).map(write).collect()).await.unwrap();
        let stores = Stores { registrations: Arc::new(registrations), resources: Arc::new(resources) };
        Backups::new(Some(stores), CancellationToken::new())
    }

    async fn call(service: &Backups) -> Result<Responses, Status> {
        Ok(service.create_backup(trusted(CreateBackupRequest {})).await?.into_inner())
    }

    async fn read(mut responses: Responses) -> Result<Summary, Status> {
        let mut check = Check::default();
        while let Some(response) = responses.next().await {
            check.push(&response?.chunk).unwrap();
        }
        Ok(check.end().unwrap())
    }

    #[tokio::test]
    async fn a_backup_has_all_entries() {
        let responses = call(&service(20).await).await.unwrap();
        assert_eq!(read(responses).await.unwrap().entries, 20);
    }

    #[tokio::test]
    async fn a_server_without_a_data_directory_explains_it() {
        let status = call(&Backups::new(None, CancellationToken::new())).await.err().unwrap();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains("--data-dir"), "{status:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_backup_is_made_at_a_time() {
        let service = service(20).await;
        let mut first = call(&service).await.unwrap();
        first.next().await.unwrap().unwrap();
        let busy = call(&service).await.err().unwrap();
        assert_eq!(busy.code(), Code::ResourceExhausted);
        assert!(busy.get_details_retry_info().is_some());
        read(call_after(&service, first).await).await.unwrap();
    }

    /// Calls after the client of another backup has gone.
    async fn call_after(service: &Backups, other: Responses) -> Responses {
        drop(other);
        Arc::clone(&service.place).acquire_owned().await.map(drop).unwrap();
        call(service).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_loses_its_place() {
        let service = service(20).await;
        let (start, mut idle) = (Instant::now(), call(&service).await.unwrap());
        idle.next().await.unwrap().unwrap();
        Arc::clone(&service.place).acquire_owned().await.map(drop).unwrap();
        assert_eq!(start.elapsed(), CHUNK_TIMEOUT);
        read(call(&service).await.unwrap()).await.unwrap();
        // The chunk that was ready, and the reason.
        let rest: Vec<_> = idle.collect().await;
        assert_eq!(rest.len(), 2);
        assert_eq!(rest[1].as_ref().unwrap_err().code(), Code::DeadlineExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_has_a_deadline_for_the_whole_backup() {
        let service = service(100).await;
        let (start, mut slow) = (Instant::now(), call(&service).await.unwrap());
        let end = loop {
            tokio::time::sleep(CHUNK_TIMEOUT / 2).await;
            if let Err(end) = slow.next().await.unwrap() {
                break end;
            }
        };
        assert_eq!(end.code(), Code::DeadlineExceeded);
        assert!(start.elapsed() > BACKUP_TIMEOUT && start.elapsed() < BACKUP_TIMEOUT + CHUNK_TIMEOUT * 3);
    }

    #[tokio::test]
    async fn a_drain_ends_a_backup() {
        let service = service(20).await;
        let mut responses = call(&service).await.unwrap();
        responses.next().await.unwrap().unwrap();
        service.shutdown.cancel();
        let rest: Vec<_> = responses.collect().await;
        assert_eq!(rest.last().unwrap().as_ref().unwrap_err().code(), Code::Unavailable);
    }
}
