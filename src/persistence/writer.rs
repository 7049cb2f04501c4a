//! Writing changes of records in batches.

use std::{
    convert::Infallible,
    pin::pin,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use super::{Persistence, Writing, encode};
use crate::{
    registry::{RecordChanges, Registry},
    runtime::blocking::run_blocking,
    store::{StoreError, Stores, Write, key},
};

/// The least time between the beginnings of two batches. Together with the time that a batch
/// takes to be durable, at most about 20 ms unless the disk is slow, it is less than 100 ms. A
/// batch takes processor time, and wakes threads, which delays what comes meanwhile.
const BATCH_INTERVAL: Duration = Duration::from_millis(75);
/// The most registrations of a batch, which take about 20 ms.
const MAX_BATCH: usize = 5_000;
/// So many changes take about 0.1 ms to encode.
const FEW: usize = 200;
/// The pause after a batch that could not be written.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// After this time an operation of the store that has not ended is reported. It goes on.
pub(super) const LATE_AFTER: Duration = Duration::from_secs(5);
/// How often the writer checks whether it must reserve more revisions, and whether the server
/// is still warming, while nothing changes; and at all times, whether the files of the stores
/// are still there.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

impl Persistence {
    /// Writes changes of records until it is dropped. A change that can't be written is kept
    /// and tried again.
    pub async fn run(&self, registry: &Registry) -> Infallible {
        // Even if the warming has ended already, those that are missing must be recorded.
        let (warmed, mut ended) = (registry.warming().is_some(), false);
        loop {
            let began = Instant::now();
            let upkeep = sleep(UPKEEP_INTERVAL);
            tokio::select! {
                biased;
                () = registry.records_changed() => {}
                () = upkeep => {}
            }
            if !ended && registry.warming().is_none() {
                ended = true;
                end_warming(registry, warmed);
            }
            let pause = if self.write_pending(registry).await { BATCH_INTERVAL } else { RETRY_INTERVAL };
            sleep_until(began + pause).await;
        }
    }

    /// Writes all pending changes. Returns false if that failed.
    pub(super) async fn write_pending(&self, registry: &Registry) -> bool {
        let mut writing = self.writing.lock().await;
        let began = SystemTime::now();
        let mut result = self.report_if_late(writing.prepare(&self.stores, registry.head())).await;
        let mut is_full = true;
        // Changes that come meanwhile wait for the next batch, or a busy server would sync without
        // a pause.
        while result.is_ok() && is_full {
            let changes = registry.take_record_changes(MAX_BATCH);
            if changes.is_empty() {
                break;
            }
            is_full = changes.registrations.len() >= MAX_BATCH;
            result = self.write(registry, &changes).await;
            match result {
                Ok(()) => registry.record_changes_stored(),
                Err(_) => registry.return_record_changes(changes),
            }
        }
        if let Err(error) = result {
            let text = error.to_string();
            if self.status.failed(error) {
                report(&text);
            }
            return false;
        }
        if self.status.all_stored(began) {
            info!("registrations can be stored again");
        }
        true
    }

    async fn write(&self, registry: &Registry, changes: &RecordChanges) -> Result<(), StoreError> {
        if changes.incomplete {
            self.write_all(registry).await?;
        }
        let (encode, incomplete) = (|| encode::changes(changes), changes.incomplete);
        // Moving the other tasks of this worker to another thread would take longer than a few
        // records, and delay them.
        self.commit(if changes.len() <= FEW { encode() } else { run_blocking(encode) }).await?;
        if incomplete {
            warn!(
                "more changes of registrations were pending than are kept: \
                  all registrations have been written again"
            );
        }
        Ok(())
    }

    /// Makes the store have the records of the registry and no others.
    async fn write_all(&self, registry: &Registry) -> Result<(), StoreError> {
        let store = &self.stores.registrations;
        let mut stored = self.report_if_late(store.load(key::DATAPLANES)).await?.items;
        stored.extend(self.report_if_late(store.load(key::WORKLOADS)).await?.items);
        let writes = run_blocking(|| encode::all(&registry.records(), &stored));
        for batch in writes.chunks(MAX_BATCH) {
            self.commit(batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let began = Instant::now();
        self.report_if_late(self.stores.registrations.commit(writes)).await?;
        self.status.written(began.elapsed());
        Ok(())
    }

    /// Waits for an operation of the store, however long it takes: one that is dropped may be
    /// applied later.
    async fn report_if_late<T>(&self, operation: impl Future<Output = T>) -> T {
        let mut operation = pin!(operation);
        if let Ok(result) = timeout(LATE_AFTER, &mut operation).await {
            return result;
        }
        let text = format!("the disk has not responded for {LATE_AFTER:?}");
        if self.status.late(StoreError::Unknown(text.clone())) {
            report(&text);
        }
        operation.await
    }
}

impl Writing {
    /// Does what must come before a batch.
    async fn prepare(&mut self, stores: &Stores, head: u64) -> Result<(), StoreError> {
        if self.checked.is_none_or(|checked| checked.elapsed() >= UPKEEP_INTERVAL) {
            self.checked = None;
            tokio::try_join!(stores.resources.check(), stores.registrations.check())?;
            self.checked = Some(Instant::now());
        }
        self.reservation.extend(&*stores.resources, head).await
    }
}

fn report(error: &str) {
    error!(
        error,
        "registrations can't be stored: the server goes on, but a restart would lose their changes; \
         it stores them as soon as it can"
    );
}

fn end_warming(registry: &Registry, warmed: bool) {
    match run_blocking(|| registry.record_missing()) {
        0 if warmed => info!("no dataplane that was connected before the restart is missing any longer"),
        0 => {}
        missing => warn!(missing, "dataplanes that were connected before the restart have not come back"),
    }
}
