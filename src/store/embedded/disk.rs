//! One database with the operations of a store, as blocking calls. After an error redb refuses
//! all work, so the database is closed and opened again, which also determines whether a commit
//! whose outcome is unknown was applied.

use std::{fmt, io, mem};

use parking_lot::RwLock;
use redb::{Database, Error, ReadableDatabase as _, StorageBackend, WriteTransaction};

use super::{
    super::{
        Change, Committed, Loaded, Outcome, StoreError, Watch, Write,
        batch::{self, Applied},
        history::History,
        problem,
    },
    format::{self, Kind, Tables},
    held_back::HeldBack,
    open::{Access, OpenError, Opened, open},
};
use crate::runtime::blocking::catch_panic;

/// Where a database is stored.
pub(in crate::store) trait Location: Send + Sync {
    /// Opens the storage, at the start and after errors: the same one each time.
    ///
    /// # Errors
    ///
    /// If it can't be opened, or is not the same.
    fn open(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// Checks that a later process would find the storage that is open.
    ///
    /// # Errors
    ///
    /// If it would not, or if that can't be determined.
    fn check(&self) -> io::Result<()>;
}

pub(super) struct Disk {
    state: RwLock<State>,
    history: History,
    /// Of the file, for errors.
    name: String,
    kind: Kind,
    access: Access,
    /// Dropped last: it may hold the lock of the directory.
    location: Box<dyn Location>,
}

enum State {
    Open(Database),
    /// The last operation failed.
    Closed {
        unknown: Option<Attempt>,
    },
    /// The file is damaged, which does not end by itself.
    Damaged(String),
}

/// A commit whose outcome is unknown until the database is open again.
struct Attempt {
    revision: u64,
    changes: Vec<Change>,
}

impl Disk {
    /// Opens the database. `name` names the file in errors. Nothing is written before the storage
    /// is released, which it must be if the access is [`Access::Write`].
    pub(super) fn open(
        name: String,
        location: Box<dyn Location>,
        kind: Kind,
        access: Access,
        history_bytes: usize,
    ) -> Result<(Self, HeldBack), OpenError> {
        let Opened { database, revision, storage: held } = open(location.open()?, kind)?;
        let (state, history) = (RwLock::new(State::Open(database)), History::new(revision, history_bytes));
        Ok((Self { state, history, name, kind, access, location }, held))
    }

    pub(super) fn watch(&self, prefix: &[u8], after: u64) -> Watch {
        self.history.watch(prefix, after)
    }

    pub(super) fn load(&self, prefix: &[u8]) -> Result<Loaded, StoreError> {
        self.reopen_if_closed()?;
        let result = self.with_database(|database| {
            let transaction = database.begin_read()?;
            let items = format::load(&transaction, prefix)?;
            Ok(Loaded { revision: format::revision(&transaction)?, items })
        });
        result.map_err(|cause| match self.reopen_after(None) {
            Err(damaged @ StoreError::Damaged(_)) => damaged,
            Ok(_) | Err(_) => StoreError::Unavailable(problem::describe("read", &self.name, &cause)),
        })
    }

    /// Must not run twice at a time.
    pub(super) fn commit(&self, writes: Vec<Write>) -> Result<Committed, StoreError> {
        if self.access == Access::Read {
            return Err(StoreError::Invalid(format!("{} is open for reading only", self.name)));
        }
        self.check()?;
        self.reopen_if_closed()?;
        // Set when the outcome of the attempt begins to be unknown.
        let mut attempt = None;
        let result = self.with_database(|database| {
            let transaction = begin_write(database)?;
            let (revision, applied) = write(&transaction, writes)?;
            if applied.changes.is_empty() {
                transaction.abort()?;
                return Ok(Committed { revision, outcomes: applied.outcomes });
            }
            attempt = Some((Attempt { revision, changes: applied.changes }, applied.outcomes.clone()));
            transaction.commit()?;
            Ok(Committed { revision, outcomes: applied.outcomes })
        });
        match result {
            Ok(committed) => {
                if let Some((attempt, _)) = attempt {
                    self.history.publish(attempt.revision, attempt.changes);
                }
                // It is in the file that is open, which may come back.
                self.check().map_err(|error| StoreError::Unknown(error.to_string()))?;
                Ok(committed)
            }
            Err(cause) => self.settle(attempt, &cause),
        }
    }

    /// Checks that a later process would find what is committed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.location.check().map_err(|error| {
            StoreError::Unavailable(problem::describe("write", &self.name, &problem::of_io(&error)))
        })
    }

    /// The outcome of a commit that failed.
    fn settle(&self, attempt: Option<(Attempt, Vec<Outcome>)>, cause: &str) -> Result<Committed, StoreError> {
        let failed = problem::describe("write", &self.name, cause);
        let Some((attempt, outcomes)) = attempt else {
            return Err(match self.reopen_after(None) {
                Err(damaged @ StoreError::Damaged(_)) => damaged,
                Ok(_) | Err(_) => StoreError::Unavailable(failed),
            });
        };
        let revision = attempt.revision;
        match self.reopen_after(Some(attempt)) {
            Ok(true) => Ok(Committed { revision, outcomes }),
            Ok(false) => Err(StoreError::Unavailable(failed)),
            Err(damaged @ StoreError::Damaged(_)) => Err(damaged),
            Err(_) => Err(StoreError::Unknown(failed)),
        }
    }

    /// Runs work with the database. An error is a text, because what it means is found out by
    /// opening the database again.
    fn with_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, String> {
        let state = self.state.read();
        let State::Open(database) = &*state else {
            // Another operation failed meanwhile.
            return Err("the file was closed after an error".to_owned());
        };
        catch_panic(|| work(database))?.map_err(problem::of_redb)
    }

    /// # Errors
    ///
    /// If the database can't be opened.
    fn reopen_if_closed(&self) -> Result<(), StoreError> {
        if let State::Open(_) = &*self.state.read() {
            return Ok(());
        }
        self.reopen(&mut self.state.write()).map(drop)
    }

    /// Closes the database after an error, and opens it again. Returns whether the attempt was
    /// applied.
    fn reopen_after(&self, attempt: Option<Attempt>) -> Result<bool, StoreError> {
        let mut state = self.state.write();
        match &mut *state {
            State::Open(_) => {
                let database = mem::replace(&mut *state, State::Closed { unknown: attempt });
                // Its locks may be poisoned.
                let _ = catch_panic(|| drop(database));
            }
            // A reader has closed it meanwhile.
            State::Closed { unknown } => *unknown = unknown.take().or(attempt),
            State::Damaged(_) => {}
        }
        self.reopen(&mut state)
    }

    fn reopen(&self, state: &mut State) -> Result<bool, StoreError> {
        let unknown = match state {
            State::Open(_) => return Ok(false),
            State::Damaged(what) => return Err(StoreError::Damaged(what.clone())),
            State::Closed { unknown } => unknown,
        };
        let opened = self.location.open().map_err(OpenError::from);
        let opened = opened.and_then(|storage| {
            let opened = open(storage, self.kind)?;
            if self.access == Access::Write {
                opened.storage.release()?;
            }
            Ok(opened)
        });
        match opened {
            Ok(Opened { database, revision, .. }) => {
                let applied = unknown.take().filter(|attempt| attempt.revision == revision);
                *state = State::Open(database);
                let was_applied = applied.is_some();
                if let Some(attempt) = applied {
                    self.history.publish(attempt.revision, attempt.changes);
                }
                Ok(was_applied)
            }
            Err(OpenError::Io(error)) => {
                let text = problem::describe("open", &self.name, &problem::of_io(&error));
                Err(StoreError::Unavailable(text))
            }
            Err(error) => {
                let text = problem::of_file(&self.name, &error, self.kind);
                *state = State::Damaged(text.clone());
                Err(StoreError::Damaged(text))
            }
        }
    }
}

/// Every commit is durable, and a crash at any time leaves the file such that it need not be
/// repaired: redb's other modes had faults in repairs.
fn begin_write(database: &Database) -> Result<WriteTransaction, Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Applies the writes, without the commit. Returns the revision: the latest one if nothing
/// changed.
fn write(transaction: &WriteTransaction, writes: Vec<Write>) -> Result<(u64, Applied), Error> {
    let mut tables = Tables::open(transaction)?;
    let latest = tables.revision()?;
    let applied = batch::apply(&mut tables, writes, latest + 1)?;
    if applied.changes.is_empty() {
        return Ok((latest, applied));
    }
    tables.set_revision(latest + 1)?;
    Ok((latest + 1, applied))
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
