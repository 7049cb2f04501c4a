//! Writing changes of records in batches.

use std::{convert::Infallible, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::{Persistence, encode};
use crate::{
    registry::{RecordChanges, Registry},
    runtime::blocking::run_blocking,
    store::{StoreError, Write, key},
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
/// How often the writer checks whether it must reserve more revisions, and whether the server
/// is still warming, while nothing changes.
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
        let mut reservation = self.writing.lock().await;
        let mut result = reservation.extend(&*self.stores.resources, registry.head()).await;
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
            self.report(error);
            return false;
        }
        true
    }

    async fn write(&self, registry: &Registry, changes: &RecordChanges) -> Result<(), StoreError> {
        if changes.incomplete {
            self.write_all(registry).await?;
        }
        let encode = || encode::changes(changes);
        // Moving the other tasks of this worker to another thread would take longer than a few
        // records, and delay them.
        self.commit(if changes.len() <= FEW { encode() } else { run_blocking(encode) }).await
    }

    /// Makes the store have the records of the registry and no others.
    async fn write_all(&self, registry: &Registry) -> Result<(), StoreError> {
        warn!(
            "more changes of registrations were pending than are kept: all registrations are written again"
        );
        let store = &self.stores.registrations;
        let mut stored = store.load(key::DATAPLANES).await?.items;
        stored.extend(store.load(key::WORKLOADS).await?.items);
        let writes = run_blocking(|| encode::all(&registry.records(), &stored));
        for batch in writes.chunks(MAX_BATCH) {
            self.commit(batch.to_vec()).await?;
        }
        Ok(())
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let began = Instant::now();
        self.stores.registrations.commit(writes).await?;
        if self.status.written(began.elapsed()) {
            info!("registrations can be stored again");
        }
        Ok(())
    }

    fn report(&self, failure: StoreError) {
        let text = failure.to_string();
        if self.status.failed(failure) {
            error!(
                error = text,
                "registrations can't be stored: the server goes on, but a restart would lose their changes; \
                 it tries again each second"
            );
        }
    }
}

fn end_warming(registry: &Registry, warmed: bool) {
    match run_blocking(|| registry.record_missing()) {
        0 if warmed => info!("no dataplane that was connected before the restart is missing any longer"),
        0 => {}
        missing => warn!(missing, "dataplanes that were connected before the restart have not come back"),
    }
}
