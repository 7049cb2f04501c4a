//! A restart: the changes of records that a registry has collected are its records, and a registry that
//! restores them has the same Workloads.

use std::{collections::BTreeMap, time::Duration};

use headcount::{
    model::{
        Counts, Dataplane, DataplaneKey, Records, RegistrationRecord, Workload, WorkloadKey, WorkloadRecord,
    },
    registry::{Registry, RegistrySettings},
};

use super::ops::Setting;

/// What a store has.
#[derive(Debug, Default)]
pub(super) struct Stored {
    registrations: BTreeMap<DataplaneKey, RegistrationRecord>,
    workloads: BTreeMap<WorkloadKey, WorkloadRecord>,
}

impl Stored {
    /// Stores the changes, and compares what is stored with the registry. Sessions that end while the server
    /// drains are not recorded as lost.
    pub(super) fn assert_same(&mut self, registry: &Registry, draining: bool) {
        let changes = registry.take_record_changes(usize::MAX);
        for (key, record) in changes.registrations {
            update(&mut self.registrations, key, record);
        }
        for (key, record) in changes.workloads {
            update(&mut self.workloads, key, record);
        }
        let Records { registrations, workloads } = registry.records();
        let workloads: BTreeMap<_, _> =
            workloads.into_iter().map(|record| (record.key.clone(), record)).collect();
        assert_eq!(self.workloads, workloads);
        let connected = |record: &RegistrationRecord| record.retained_until.is_none();
        let mut current: BTreeMap<_, _> =
            registrations.into_iter().map(|record| (record.dataplane.key.clone(), record)).collect();
        for (key, stored) in &self.registrations {
            let current = current.remove(key).unwrap_or_else(|| panic!("{stored:?} is stored"));
            assert_eq!(*stored.dataplane, *current.dataplane);
            assert!(connected(stored) == connected(&current) || draining, "{stored:?}, {current:?}");
        }
        assert!(current.is_empty(), "{current:?} is not stored");
    }

    /// Restores a registry, and compares its Workloads with those of the one that has ended.
    pub(super) fn assert_restores(&self, ended: &Registry, setting: Setting) {
        let first_revision = ended.head() + 1;
        let restored = Registry::new(RegistrySettings { first_revision, ..setting.settings() });
        let records = Records {
            registrations: self.registrations.values().cloned().collect(),
            workloads: self.workloads.values().cloned().collect(),
        };
        let connected = records.registrations.iter().filter(|record| record.retained_until.is_none()).count();
        restored.restore(records, Duration::from_secs(30));
        assert_eq!(restored.warming().map_or(0, |warming| warming.missing), connected);

        let facts = |workload: &Workload| {
            let identity = &workload.identity;
            (identity.uid, identity.creation_time, identity.mesh.clone(), identity.labels.clone())
        };
        let (before, after) = (ended.snapshot(), restored.snapshot());
        assert_eq!(after.workloads.len(), before.workloads.len());
        for workload in &after.workloads {
            assert!(workload.revision > ended.head());
            let (earlier, _) = ended.get(workload.key());
            let earlier = earlier.expect("it existed before");
            assert_eq!(facts(workload), facts(&earlier));
            assert_eq!(workload.counts, Counts { connected: 0, healthy: 0, ..earlier.counts });
        }
        let all = |registry: &Registry| {
            let views = registry.dataplanes(|_: &Dataplane| true, usize::MAX - 1, None).0;
            views.into_iter().map(|view| view.dataplane).collect::<Vec<_>>()
        };
        assert_eq!(all(&restored), all(ended));
    }
}

fn update<K: Ord, V>(stored: &mut BTreeMap<K, V>, key: K, record: Option<V>) {
    match record {
        Some(record) => drop(stored.insert(key, record)),
        None => drop(stored.remove(&key)),
    }
}
