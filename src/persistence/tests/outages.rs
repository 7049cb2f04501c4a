//! Disks that fail or hang, and what the server logs about them.

use tokio::time::sleep;

use super::*;
use crate::{model::Records, persistence::writer::LATE_AFTER};

const CANNOT: &str = "registrations can't be stored";
const CAN_AGAIN: &str = "registrations can be stored again";

/// Makes the registry have a change that is not stored, on a disk that hangs from now on.
pub(crate) async fn on_a_disk_that_hangs(registry: &Registry) -> Persistence {
    let disk = Disk::default();
    let persistence = disk.load(0).await.persistence;
    disk.registrations.state.lock().takes = Duration::from_hours(1);
    registry.restore(Records::default(), WARMING);
    drop(join(registry, "a"));
    persistence
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_hangs_is_reported_once_and_goes_on() {
    let (log, disk) = (CapturedLog::start(), Disk::default());
    let (registry, persistence) = disk.start().await;
    let takes = LATE_AFTER * 4;
    disk.registrations.state.lock().takes = takes;
    let _a = join(&registry, "a");
    let state = || persistence.status().state();
    let lines = || (log.with(CANNOT).len(), log.with(CAN_AGAIN).len());
    let (before, margin) = (LATE_AFTER * 4 / 5, LATE_AFTER / 5);
    let observe = async {
        sleep(before).await;
        assert_eq!((state().error, lines()), (None, (0, 0)));
        sleep(margin * 2).await;
        let error = StoreError::Unknown("the disk has not responded for 5s".into());
        assert_eq!((state().error, lines()), (Some(error.clone()), (1, 0)));
        sleep(margin * 13).await;
        assert_eq!((state().error, lines()), (Some(error), (1, 0)));
        assert_eq!(registry.pending_records(), 2, "the dataplane and its Workload");
        sleep(margin * 2).await;
        assert_eq!((state().error, lines()), (None, (1, 1)));
        assert_eq!((state().failures, registry.pending_records()), (0, 0));
    };
    tokio::select! {
        never = persistence.run(&registry) => match never {},
        () = observe => {}
    }
    assert_eq!(disk.registrations.state.lock().commits.len(), 1, "it was not repeated");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_file_of_revisions_is_reported_too() {
    let (log, disk) = (CapturedLog::start(), Disk::default());
    let persistence = disk.load(0).await.persistence;
    // It has handed out all revisions that are reserved.
    let settings = RegistrySettings { first_revision: u64::MAX / 2, ..RegistrySettings::default() };
    disk.resources.state.lock().takes = LATE_AFTER * 2;
    assert!(persistence.flush(&Registry::new(settings)).await);
    assert_eq!((log.with(CANNOT).len(), log.with(CAN_AGAIN).len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_outage_has_one_line_at_its_begin_and_one_at_its_end() {
    let (log, disk) = (CapturedLog::start(), Disk::default());
    let (registry, persistence) = disk.start().await;
    let _a = join(&registry, "a");
    let unknown = StoreError::Unknown("the sync failed".into());
    let two_attempts = Duration::from_secs(2);
    for outage in 1..=2 {
        for error in [unknown.clone(), full(), unknown.clone()] {
            disk.registrations.state.lock().fails = Some(error);
            run(&persistence, &registry, two_attempts).await;
            assert_eq!((log.with(CANNOT).len(), log.with(CAN_AGAIN).len()), (outage, outage - 1));
        }
        disk.registrations.state.lock().fails = None;
        run(&persistence, &registry, two_attempts).await;
        assert_eq!((log.with(CANNOT).len(), log.with(CAN_AGAIN).len()), (outage, outage));
        drop(join(&registry, "b"));
    }
}
