//! A storage that holds writes back until the database has been accepted, because redb writes
//! to a file while it opens it. A file that is refused stays as it was, byte by byte.

use std::{io, sync::Arc};

use parking_lot::RwLock;
use redb::StorageBackend;

/// A storage whose writes are held back until [`Self::release`]. Clones share their state.
#[must_use = "writes are lost if it is not released"]
#[derive(Clone, Debug)]
pub(in crate::store) struct HeldBack(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    storage: Box<dyn StorageBackend>,
    mode: RwLock<Mode>,
}

#[derive(Debug)]
enum Mode {
    /// Reads see the operations, but the storage has not got them.
    Holding(Held),
    /// All operations go to the storage.
    Through,
    /// The operations could not be written; nothing goes to the storage any more.
    Failed,
}

#[derive(Debug)]
struct Held {
    /// The length that the storage would have.
    length: u64,
    operations: Vec<Operation>,
}

#[derive(Debug)]
enum Operation {
    Write { offset: u64, data: Vec<u8> },
    SetLength(u64),
    Sync,
}

impl HeldBack {
    /// # Errors
    ///
    /// If the length of the storage can't be read.
    pub(super) fn new(storage: Box<dyn StorageBackend>) -> io::Result<Self> {
        let held = Held { length: storage.len()?, operations: Vec::new() };
        Ok(Self(Arc::new(Shared { storage, mode: RwLock::new(Mode::Holding(held)) })))
    }

    /// Writes what was held back, in the order and with the syncs of redb, so that a crash
    /// meanwhile leaves what it would have left without this type.
    ///
    /// # Errors
    ///
    /// If the storage can't be written.
    pub(in crate::store) fn release(&self) -> io::Result<()> {
        let mut mode = self.0.mode.write();
        let Mode::Holding(held) = std::mem::replace(&mut *mode, Mode::Failed) else {
            return Err(io::Error::other("the storage was released before"));
        };
        for operation in held.operations {
            match operation {
                Operation::Write { offset, data } => self.0.storage.write(offset, &data)?,
                Operation::SetLength(length) => self.0.storage.set_len(length)?,
                Operation::Sync => self.0.storage.sync_data()?,
            }
        }
        *mode = Mode::Through;
        Ok(())
    }

    /// Holds a change back, or makes it.
    fn change(
        &self,
        make: impl FnOnce(&dyn StorageBackend) -> io::Result<()>,
        keep: impl FnOnce(&mut Held),
    ) -> io::Result<()> {
        // Shared, so that a sync does not delay readers.
        if let Mode::Through = &*self.0.mode.read() {
            return make(&*self.0.storage);
        }
        match &mut *self.0.mode.write() {
            Mode::Holding(held) => {
                keep(held);
                Ok(())
            }
            Mode::Through | Mode::Failed => Err(failed()),
        }
    }
}

impl StorageBackend for HeldBack {
    fn len(&self) -> io::Result<u64> {
        match &*self.0.mode.read() {
            Mode::Holding(held) => Ok(held.length),
            Mode::Through => self.0.storage.len(),
            Mode::Failed => Err(failed()),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match &*self.0.mode.read() {
            Mode::Holding(held) => held.read(&*self.0.storage, offset, out),
            Mode::Through => self.0.storage.read(offset, out),
            Mode::Failed => Err(failed()),
        }
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let keep = |held: &mut Held| {
            held.length = length;
            held.operations.push(Operation::SetLength(length));
        };
        self.change(|storage| storage.set_len(length), keep)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(StorageBackend::sync_data, |held| held.operations.push(Operation::Sync))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let keep = |held: &mut Held| {
            held.length = held.length.max(offset + data.len() as u64);
            held.operations.push(Operation::Write { offset, data: data.to_vec() });
        };
        self.change(|storage| storage.write(offset, data), keep)
    }

    fn close(&self) -> io::Result<()> {
        self.0.storage.close()
    }
}

impl Held {
    /// Reads the storage as if it had been written.
    fn read(&self, storage: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let end = offset + out.len() as u64;
        if end > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let present = within(offset, end, storage.len()?);
        if present > 0 {
            storage.read(offset, &mut out[..present])?;
        }
        out[present..].fill(0);
        for operation in &self.operations {
            match operation {
                Operation::Write { offset: start, data } => {
                    let from = (*start).max(offset);
                    let to = (start + data.len() as u64).min(end);
                    if from < to {
                        let source = &data[index(from - start)..index(to - start)];
                        out[index(from - offset)..index(to - offset)].copy_from_slice(source);
                    }
                }
                Operation::SetLength(length) => out[within(offset, end, *length)..].fill(0),
                Operation::Sync => {}
            }
        }
        Ok(())
    }
}

/// How many of the bytes from `offset` to `end` are before `length`.
fn within(offset: u64, end: u64, length: u64) -> usize {
    index(length.clamp(offset, end) - offset)
}

/// The index in a buffer. Buffers are in memory, so it fits.
fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset within a buffer")
}

fn failed() -> io::Error {
    io::Error::other("the file could not be written when it was opened")
}
