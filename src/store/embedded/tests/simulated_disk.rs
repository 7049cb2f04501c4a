//! A disk with a cache that is lost in a crash.

use std::{
    io, mem,
    sync::{Arc, Barrier},
};

use parking_lot::Mutex;
use redb::StorageBackend;

use super::super::Location;

/// What a disk writes at once, even in a crash.
const SECTOR: usize = 512;

/// One file on a disk. Clones are the same file.
#[derive(Debug, Clone)]
pub(super) struct SimulatedDisk(Arc<Mutex<State>>);

struct State {
    random: fastrand::Rng,
    /// What reads return.
    cached: Vec<u8>,
    /// What a crash leaves, without the changes.
    durable: Vec<u8>,
    /// Changes that were not synced. A crash may lose, reorder and tear them.
    changes: Vec<Change>,
    /// Changes and syncs that succeed before the faults begin.
    countdown: Option<u64>,
    fault: Option<Fault>,
    /// Of 100 syncs, how many fail once and lose some changes, as a failed fsync of Linux does:
    /// reads return what is not on the disk.
    failing_syncs: u8,
    /// Since it was created.
    operations: u64,
    /// The next sync waits there twice: when it begins, and until it may go on.
    gate: Option<Arc<Barrier>>,
    /// A later process would not find it.
    removed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// All operations fail.
    Off,
    /// Changes fail.
    Full,
    /// Reads panic, as redb may in a damaged file.
    PanickingReads,
}

#[derive(Debug)]
enum Change {
    Write(usize, Vec<u8>),
    SetLength(usize),
}

impl SimulatedDisk {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: fastrand::Rng::with_seed(seed),
            cached: Vec::new(),
            durable: Vec::new(),
            changes: Vec::new(),
            countdown: None,
            fault: None,
            failing_syncs: 0,
            operations: 0,
            gate: None,
            removed: false,
        })))
    }

    pub(super) fn storage(&self) -> Box<dyn StorageBackend> {
        Box::new(self.clone())
    }

    /// From now on, or after some changes and syncs.
    pub(super) fn fail(&self, fault: Fault, after: u64) {
        let mut state = self.0.lock();
        state.fault = Some(fault);
        state.countdown = Some(after);
    }

    pub(super) fn heal(&self) {
        self.0.lock().fault = None;
    }

    pub(super) fn set_failing_syncs(&self, of_hundred: u8) {
        self.0.lock().failing_syncs = of_hundred;
    }

    /// Stops the next sync.
    pub(super) fn stop_next_sync(&self) -> Arc<Barrier> {
        let gate = Arc::new(Barrier::new(2));
        self.0.lock().gate = Some(gate.clone());
        gate
    }

    pub(super) fn is_failing(&self) -> bool {
        self.0.lock().is_failing()
    }

    pub(super) fn set_removed(&self, removed: bool) {
        self.0.lock().removed = removed;
    }

    /// Changes and syncs so far.
    pub(super) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.0.lock().cached.clone()
    }

    pub(super) fn overwrite(&self, offset: usize, data: &[u8]) {
        self.0.lock().cached[offset..offset + data.len()].copy_from_slice(data);
    }

    /// Power is lost and comes back: of the changes that were not synced, any part is on the disk.
    pub(super) fn crash(&self) {
        let mut state = self.0.lock();
        let State { random, changes, durable, cached, .. } = &mut *state;
        let mut changes = mem::take(changes);
        random.shuffle(&mut changes);
        // In some crashes nearly all changes are kept, or nearly none.
        let kept = random.u32(0..=100);
        for change in &changes {
            match change {
                Change::Write(offset, data) => {
                    let sectors = data.chunks(SECTOR).zip((*offset..).step_by(SECTOR));
                    for (sector, offset) in sectors.filter(|_| random.u32(0..100) < kept) {
                        write(durable, offset, sector);
                    }
                }
                Change::SetLength(length) if random.u32(0..100) < kept => durable.resize(*length, 0),
                Change::SetLength(_) => {}
            }
        }
        cached.clone_from(durable);
        state.fault = None;
    }
}

impl State {
    fn is_failing(&self) -> bool {
        self.fault.is_some() && self.countdown == Some(0)
    }

    /// Counts a change or a sync, which fails after the countdown.
    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        match (self.fault, self.countdown) {
            (Some(Fault::Off), Some(0)) => Err(io::Error::other("simulated I/O error")),
            (Some(Fault::Full), Some(0)) => Err(io::ErrorKind::StorageFull.into()),
            (Some(_), Some(left)) => {
                self.countdown = Some(left.saturating_sub(1));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl Location for SimulatedDisk {
    fn open(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(self.storage())
    }

    fn check(&self) -> io::Result<()> {
        if self.0.lock().removed { Err(io::Error::other("it was removed")) } else { Ok(()) }
    }
}

impl StorageBackend for SimulatedDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().cached.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.lock();
        match state.fault {
            Some(Fault::Off) if state.is_failing() => return Err(io::Error::other("simulated I/O error")),
            Some(Fault::PanickingReads) => panic!("simulated panic"),
            _ => {}
        }
        let start = to_index(offset);
        let data = state.cached.get(start..start + out.len());
        out.copy_from_slice(data.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation()?;
        state.cached.resize(to_index(length), 0);
        state.changes.push(Change::SetLength(to_index(length)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let gate = self.0.lock().gate.take();
        if let Some(gate) = gate {
            gate.wait();
            gate.wait();
        }
        let mut state = self.0.lock();
        state.operation()?;
        let fails = state.random.u8(0..100) < state.failing_syncs;
        let State { changes, durable, random, .. } = &mut *state;
        for change in mem::take(changes) {
            match change {
                Change::Write(..) if fails && random.bool() => {}
                Change::Write(offset, data) => write(durable, offset, &data),
                Change::SetLength(length) => durable.resize(length, 0),
            }
        }
        if fails { Err(io::Error::other("simulated failure of a sync")) } else { Ok(()) }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operation()?;
        write(&mut state.cached, to_index(offset), data);
        state.changes.push(Change::Write(to_index(offset), data.to_vec()));
        Ok(())
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("length", &self.cached.len()).finish_non_exhaustive()
    }
}
