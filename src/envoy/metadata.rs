//! Typed access to a node's metadata, a `google.protobuf.Struct`. Errors name the path of the value as the
//! bootstrap has it.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU16};

use prost_types::{Value, value::Kind};

use super::checks::EndpointAddress;
use crate::model::{Invalid, Quoted};

/// Default address of an application and of an admin interface.
const DEFAULT_ADDRESS: &str = "127.0.0.1";

/// A struct in the metadata, and its path.
#[derive(Debug, Clone)]
pub(super) struct MetadataStruct<'a> {
    path: String,
    fields: &'a BTreeMap<String, Value>,
}

impl<'a> MetadataStruct<'a> {
    /// The struct at `path`.
    pub(super) fn new(path: impl Into<String>, fields: &'a BTreeMap<String, Value>) -> Self {
        Self { path: path.into(), fields }
    }

    /// Returns the path of a key.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Returns the entries whose key is wanted; it is an error if one of them is not a string.
    pub(super) fn strings(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = Result<(&'a str, &'a str), Invalid>> {
        self.fields.iter().filter(move |(key, _)| wanted(key)).map(|(key, value)| match &value.kind {
            Some(Kind::StringValue(text)) => Ok((key.as_str(), text.as_str())),
            _ => Err(self.must_be(key, "a string (quote numbers and booleans)")),
        })
    }

    /// Returns a string; none if it is absent.
    pub(super) fn string(&self, key: &str) -> Result<Option<&'a str>, Invalid> {
        match self.kind(key) {
            None => Ok(None),
            Some(Kind::StringValue(text)) => Ok(Some(text)),
            Some(_) => Err(self.must_be(key, "a string")),
        }
    }

    /// Returns a nested struct; none if it is absent.
    pub(super) fn nested(&self, key: &str) -> Result<Option<Self>, Invalid> {
        match self.kind(key) {
            None => Ok(None),
            Some(Kind::StructValue(inner)) => Ok(Some(Self::new(self.path(key), &inner.fields))),
            Some(_) => Err(self.must_be(key, "a map")),
        }
    }

    /// Returns a list of structs; empty if it is absent.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, Invalid> {
        let list = match self.kind(key) {
            None => return Ok(Vec::new()),
            Some(Kind::ListValue(list)) => list,
            Some(_) => return Err(self.must_be(key, "a list")),
        };
        let path = self.path(key);
        let item = |(index, item): (usize, &'a Value)| match &item.kind {
            Some(Kind::StructValue(inner)) => Ok(Self::new(format!("{path}[{index}]"), &inner.fields)),
            _ => Err(Invalid::new(format!("{path}[{index}]"), "must be a map, such as {port: 8080}")),
        };
        list.values.iter().enumerate().map(item).collect()
    }

    /// Returns a port; none if it is absent.
    pub(super) fn port(&self, key: &str) -> Result<Option<NonZeroU16>, Invalid> {
        const RULE: &str = "a whole number between 1 and 65535";
        match self.kind(key) {
            None => Ok(None),
            Some(Kind::NumberValue(number)) => match whole(*number).and_then(NonZeroU16::new) {
                Some(port) => Ok(Some(port)),
                None => Err(Invalid::new(self.path(key), format!("{number}: must be {RULE}"))),
            },
            Some(_) => Err(self.must_be(key, RULE)),
        }
    }

    /// Returns a port; it is an error if it is absent.
    pub(super) fn required_port(&self, key: &str) -> Result<NonZeroU16, Invalid> {
        let missing = || Invalid::new(self.path(key), "is required and must be between 1 and 65535");
        self.port(key)?.ok_or_else(missing)
    }

    /// Returns the struct's `address`, by default 127.0.0.1, with the given port.
    pub(super) fn endpoint(&self, port: NonZeroU16) -> Result<EndpointAddress, Invalid> {
        let text = self.string("address")?.filter(|text| !text.is_empty()).unwrap_or(DEFAULT_ADDRESS);
        let address: IpAddr = text.parse().map_err(|_| {
            let problem = format!(
                "{}: must be a literal IPv4 or IPv6 address, such as 127.0.0.1 or ::1; Envoy does not resolve names here",
                Quoted(text)
            );
            Invalid::new(self.path("address"), problem)
        })?;
        Ok(EndpointAddress { address, port })
    }

    /// Rejects unknown keys: with a misspelt key Envoy would check the wrong thing unnoticed.
    pub(super) fn deny_unknown(&self, known: &[&str]) -> Result<(), Invalid> {
        match self.fields.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let problem = format!("is not a known key: use {}", known.join(", "));
                Err(Invalid::new(self.path(key), problem))
            }
        }
    }

    /// Returns a value; a null counts as absent.
    fn kind(&self, key: &str) -> Option<&'a Kind> {
        self.fields.get(key)?.kind.as_ref().filter(|kind| !matches!(kind, Kind::NullValue(_)))
    }

    fn must_be(&self, key: &str, rule: &str) -> Invalid {
        Invalid::new(self.path(key), format!("must be {rule}"))
    }
}

/// Appends a key to a path. A key with unusual characters is quoted.
fn join(path: &str, key: &str) -> String {
    /// Longest key of a label: a DNS subdomain, a slash and a name.
    const MAX_KEY: usize = 253 + 1 + 63;
    let is_usual = |c: u8| c.is_ascii_alphanumeric() || b"-_./".contains(&c);
    if (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(is_usual) {
        format!("{path}.{key}")
    } else {
        format!("{path}[{}]", Quoted(key))
    }
}

/// Converts a number, which the metadata stores as a double; none if it is not a whole `u16`.
fn whole(number: f64) -> Option<u16> {
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and fits")]
    fits.then_some(number as u16)
}
