//! What a file contains: a redb database with two tables.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `meta` | `format`, `revision` | a number of 8 bytes, big-endian |
//! | `meta` | `kind` | `registrations` or `resources` |
//! | `entries` | the key of an entry | its revision; how many revisions earlier it was created; its value |
//!
//! The numbers of an entry are varints of protobuf, which take 2 to 6 bytes together. In format 2
//! the value is compressed (`compression.rs`). A file of format 1 is used without that.

use std::borrow::Cow;

use prost::encoding::{decode_varint, encode_varint};
use redb::{
    Database, Error, ReadTransaction, ReadableDatabase as _, ReadableTable, Table, TableDefinition,
    TableError, WriteTransaction,
};

use super::{
    super::{
        Item,
        batch::{Entries, Version},
    },
    compression::Compression,
    open::OpenError,
};

/// The newest format, which new files have.
pub(super) const FORMAT: u64 = 2;
/// The first format whose values are compressed.
const COMPRESSED: u64 = 2;

pub(super) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(super) const ENTRIES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("entries");

/// What a file is for. The files of a directory must not be confused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    Registrations,
    Resources,
}

impl Kind {
    pub(in crate::store) fn name(self) -> &'static str {
        match self {
            Self::Registrations => "registrations",
            Self::Resources => "resources",
        }
    }
}

/// Makes an empty database a store of this kind.
pub(super) fn initialize(transaction: &WriteTransaction, kind: Kind) -> Result<(), Error> {
    let mut meta = transaction.open_table(META)?;
    meta.insert("format", &FORMAT.to_be_bytes()[..])?;
    meta.insert("kind", kind.name().as_bytes())?;
    meta.insert("revision", &0_u64.to_be_bytes()[..])?;
    transaction.open_table(ENTRIES)?;
    Ok(())
}

/// Checks that a database is a store of this kind, in a format that this version reads, and that
/// all its entries can be read. Returns its latest revision.
pub(super) fn check(database: &Database, kind: Kind) -> Result<u64, OpenError> {
    let transaction = database.begin_read().map_err(Error::from)?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::Storage(error)) => return Err(Error::from(error).into()),
        Err(_) => return Err(OpenError::Foreign),
    };
    let format = number(&meta, "format")?;
    if format > FORMAT {
        return Err(OpenError::Newer { found: format, newest: FORMAT });
    }
    let found = meta.get("kind").map_err(Error::from)?;
    let found = found.map(|found| String::from_utf8_lossy(found.value()).into_owned());
    if found.as_deref() != Some(kind.name()) {
        return Err(OpenError::Kind { found: found.unwrap_or_default(), expected: kind.name() });
    }
    let revision = number(&meta, "revision")?;
    check_entries(&transaction, revision, Values::of(format))?;
    Ok(revision)
}

fn check_entries(transaction: &ReadTransaction, latest: u64, mut values: Values) -> Result<(), Error> {
    for entry in transaction.open_table(ENTRIES)?.range::<&[u8]>(..)? {
        let (key, stored) = entry?;
        let (version, value) = decode(key.value(), stored.value())?;
        values.decode(key.value(), value)?;
        if version.revision > latest {
            let (key, revision) = (key.value().escape_ascii(), version.revision);
            return Err(Error::Corrupted(format!("the entry {key} has revision {revision} of {latest}")));
        }
    }
    Ok(())
}

/// The latest revision.
pub(super) fn revision(transaction: &ReadTransaction) -> Result<u64, Error> {
    number(&transaction.open_table(META)?, "revision")
}

fn number(meta: &impl ReadableTable<&'static str, &'static [u8]>, name: &str) -> Result<u64, Error> {
    let bytes = meta.get(name)?.and_then(|value| value.value().try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| Error::Corrupted(format!("its {name} is missing")))
}

/// The entries whose keys begin with `prefix`.
pub(super) fn load(transaction: &ReadTransaction, prefix: &[u8]) -> Result<Vec<Item>, Error> {
    let entries = transaction.open_table(ENTRIES)?;
    let mut values = Values::of(number(&transaction.open_table(META)?, "format")?);
    let mut items = Vec::new();
    for entry in entries.range(prefix..)? {
        let (key, stored) = entry?;
        let key = key.value();
        if !key.starts_with(prefix) {
            break;
        }
        let (version, value) = decode(key, stored.value())?;
        items.push(Item {
            key: key.to_vec().into(),
            value: values.decode(key, value)?.into_owned().into(),
            revision: version.revision,
            created: version.created,
        });
    }
    Ok(items)
}

/// The tables of a transaction that writes.
pub(super) struct Tables<'a> {
    meta: Table<'a, &'static str, &'static [u8]>,
    entries: Table<'a, &'static [u8], &'static [u8]>,
    values: Values,
    /// Of the value that is written, to reuse its memory.
    encoded: Vec<u8>,
}

impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, Error> {
        let (meta, entries) = (transaction.open_table(META)?, transaction.open_table(ENTRIES)?);
        let values = Values::of(number(&meta, "format")?);
        Ok(Self { meta, entries, values, encoded: Vec::new() })
    }

    pub(super) fn revision(&self) -> Result<u64, Error> {
        number(&self.meta, "revision")
    }

    pub(super) fn set_revision(&mut self, revision: u64) -> Result<(), Error> {
        self.meta.insert("revision", &revision.to_be_bytes()[..])?;
        Ok(())
    }
}

impl Entries for Tables<'_> {
    type Error = Error;

    fn version(&mut self, key: &[u8]) -> Result<Option<Version>, Error> {
        let stored = self.entries.get(key)?;
        stored.map(|stored| Ok(decode(key, stored.value())?.0)).transpose()
    }

    fn put(&mut self, item: &Item) -> Result<(), Error> {
        self.encoded.clear();
        encode_varint(item.revision, &mut self.encoded);
        encode_varint(item.revision - item.created, &mut self.encoded);
        self.values.encode(&item.key, &item.value, &mut self.encoded);
        self.entries.insert(&*item.key, &*self.encoded)?;
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Error> {
        self.entries.remove(key)?;
        Ok(())
    }
}

/// How a file has its values.
enum Values {
    Plain,
    Compressed(Compression),
}

impl Values {
    fn of(format: u64) -> Self {
        if format < COMPRESSED { Self::Plain } else { Self::Compressed(Compression::default()) }
    }

    fn encode(&mut self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Plain => out.extend_from_slice(value),
            Self::Compressed(compression) => compression.compress(key, value, out),
        }
    }

    fn decode<'a>(&mut self, key: &[u8], stored: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        match self {
            Self::Plain => Ok(stored.into()),
            Self::Compressed(compression) => compression.decompress(key, stored).ok_or_else(|| {
                Error::Corrupted(format!("the value of the entry {} is wrong", key.escape_ascii()))
            }),
        }
    }
}

/// The revisions of an entry, and its value as it is stored.
fn decode<'a>(key: &[u8], stored: &'a [u8]) -> Result<(Version, &'a [u8]), Error> {
    let mut rest = stored;
    let mut number = || decode_varint(&mut rest).ok();
    let version = number()
        .zip(number())
        .and_then(|(revision, age)| Some(Version { revision, created: revision.checked_sub(age)? }));
    let version = version.ok_or_else(|| {
        Error::Corrupted(format!("the revisions of the entry {} are wrong", key.escape_ascii()))
    })?;
    Ok((version, rest))
}
