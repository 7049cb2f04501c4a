//! Restoring the registrations of an earlier process, and the records of the present ones.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    Registry,
    admission::footprint,
    counts::{EntryKey, Members},
    journal::RecordChanges,
    log::Draft,
    registration::{ByKey, Loss, Presence, Registration},
    shared::Shared,
};
use crate::model::{Attempt, Dataplane, Records, RegistrationRecord, WorkloadKey, WorkloadRecord};

impl Registry {
    /// Restores the registrations of an earlier process, before any client connects. All
    /// dataplanes are registered and none is connected. Those that were connected are expected
    /// back: the server is warming until they are, for `warming` at most.
    ///
    /// A dataplane that was connected is retained as if it had been lost now, and for `warming`
    /// at least. One that was lost keeps its deadline, within limits that do not depend on the
    /// clock: it is retained for the retention period at most, and for `warming` at least unless
    /// the retention period is shorter.
    ///
    /// From now on the registry collects changes of its records.
    ///
    /// The limits are not enforced here: [`RegistrySettings::check_records`](super::RegistrySettings::check_records)
    /// is called before.
    pub fn restore(&self, records: Records, warming: Duration) {
        self.shared.restore(records, warming);
    }

    /// Waits until changes of records may be pending. One task may wait at a time.
    pub async fn records_changed(&self) {
        self.shared.journal.changed().await;
    }

    /// Takes pending changes of records, of at most `max` registrations. The removal of a Workload
    /// is not taken before all changes of registrations.
    pub fn take_record_changes(&self, max: usize) -> RecordChanges {
        self.shared.journal.take(max)
    }

    /// The changes that were taken are stored.
    pub fn record_changes_stored(&self) {
        self.shared.journal.stored();
    }

    /// Returns changes that could not be stored.
    pub fn return_record_changes(&self, changes: RecordChanges) {
        self.shared.journal.restore(changes);
    }

    /// The number of changes of records that are not stored yet, whether or not they were taken.
    pub fn pending_records(&self) -> usize {
        self.shared.journal.len()
    }

    /// The records of all registrations and Workloads. Takes tens of milliseconds for 200,000.
    pub fn records(&self) -> Records {
        let shared = &self.shared;
        let registrations =
            shared.dataplanes.iter().map(|slot| shared.record(&slot.key().0, slot.value())).collect();
        let entries = shared.entries.all();
        let current = |members: &Members| {
            members.current().as_ref().map(|workload| WorkloadRecord::of(&workload.identity))
        };
        let workloads = entries.iter().filter_map(|entry| entry.read(current)).collect();
        Records { registrations, workloads }
    }

    /// Records as lost the dataplanes that were connected before the restart and have not come
    /// back, once the server no longer waits for them. Returns how many.
    pub fn record_missing(&self) -> usize {
        let shared = &self.shared;
        let mut missing = 0;
        for mut slot in shared.dataplanes.iter_mut() {
            let (ByKey(dataplane), registration) = slot.pair_mut();
            if let Presence::Lost(loss) = &mut registration.presence
                && mem::take(&mut loss.awaited)
            {
                missing += 1;
                let record = shared.record(dataplane, registration);
                shared.journal.registration(&dataplane.key, Some(record));
            }
        }
        missing
    }
}

/// The circumstances of a restore.
struct Restored {
    now: Instant,
    time: SystemTime,
    warming: Duration,
    retention: Duration,
}

impl Restored {
    /// How long a registration is retained.
    fn remaining(&self, record: &RegistrationRecord) -> Duration {
        match record.retained_until {
            None => self.retention.max(self.warming),
            Some(until) => {
                let remaining = until.duration_since(self.time).unwrap_or_default();
                remaining.clamp(self.warming.min(self.retention), self.retention)
            }
        }
    }
}

impl Shared {
    fn restore(&self, records: Records, warming: Duration) {
        let (retention, time) = (self.settings.retention, self.wall_clock());
        let restored = Restored { now: Instant::now(), time, warming, retention };
        let workloads = records.workloads.into_iter().map(|record| (record.key.clone(), record));
        let mut workloads: HashMap<WorkloadKey, WorkloadRecord> = workloads.collect();
        let mut by_entry: BTreeMap<EntryKey, Vec<RegistrationRecord>> = BTreeMap::new();
        for record in records.registrations {
            by_entry.entry(EntryKey::of(&record.dataplane)).or_default().push(record);
        }
        self.journal.enable();
        let mut missing = 0;
        for (key, records) in by_entry {
            let workload = key.workload_key().and_then(|key| workloads.remove(&key));
            missing += self.restore_entry(&key, records, workload, &restored);
        }
        // No registration that belongs to them was stored, or none could be decoded.
        for key in workloads.into_keys() {
            self.journal.workload(&key, None);
        }
        self.warming.begin(missing, warming);
    }

    /// Restores the registrations of one entry. Returns how many of them were connected.
    fn restore_entry(
        &self,
        key: &EntryKey,
        records: Vec<RegistrationRecord>,
        workload: Option<WorkloadRecord>,
        restored: &Restored,
    ) -> usize {
        let mut missing = 0;
        let entry = self.entries.get_or_create(key);
        let mut registrations = Vec::with_capacity(records.len());
        let mut locked = self.lock_own(&entry);
        for record in records {
            let remaining = restored.remaining(&record);
            let awaited = record.retained_until.is_none();
            let since = if awaited { restored.time } else { record.since };
            let mut dataplane = Arc::unwrap_or_clone(record.dataplane);
            if let Some(newest) = locked.members().newest() {
                dataplane.share(&newest);
            }
            let bytes = footprint(&dataplane);
            let dataplane = Arc::new(dataplane);
            let memory = self.capacity.restore(&dataplane, bytes);
            missing += usize::from(awaited);
            locked.members().restore(&dataplane);
            let loss = Loss {
                since,
                opened: restored.now.checked_sub(self.settings.flap_interval).unwrap_or(restored.now),
                next_change_at: restored.now,
                attempt: Attempt::default(),
                deadline: restored.now + remaining,
                awaited,
                memory,
            };
            registrations.push((dataplane, loss));
        }
        let stored = workload.clone();
        let draft = locked.members().restore_workload(workload, restored.time);
        let record = draft.as_ref().and_then(Draft::record).and_then(|(_, record)| record);
        if record == stored {
            let [published] = self.log.publish([draft]);
            locked.members().set_current(published);
        } else {
            // Another mesh holds the name now, or no dataplane is left.
            if let Some(stored) = stored {
                self.journal.workload(&stored.key, None);
            }
            self.commit([&mut locked], [draft]);
        }
        drop(locked);
        for (dataplane, loss) in registrations {
            let key = ByKey(dataplane);
            self.retention.add(loss.deadline, key.clone());
            let presence = Presence::Lost(Box::new(loss));
            self.dataplanes.insert(key, Registration { entry: Arc::clone(&entry), presence });
        }
        missing
    }

    fn record(&self, dataplane: &Arc<Dataplane>, registration: &Registration) -> RegistrationRecord {
        let dataplane = Arc::clone(dataplane);
        match &registration.presence {
            Presence::Connected(cell) => {
                RegistrationRecord { dataplane, since: cell.since, retained_until: None }
            }
            Presence::Lost(loss) => {
                let remaining = loss.deadline.saturating_duration_since(Instant::now());
                let until = (!loss.awaited).then(|| self.wall_clock() + remaining);
                RegistrationRecord { dataplane, since: loss.since, retained_until: until }
            }
        }
    }
}
