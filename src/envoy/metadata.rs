//! Reads an Envoy's metadata, whose types are those of JSON, and names what is
//! wrong by the path that its user wrote.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroU16};

use prost_types::{Value, value::Kind};

use super::checks::Place;
use crate::model::{Invalid, Quoted};

/// Where an application or an Envoy's admin interface is that does not say.
const LOCALHOST: &str = "127.0.0.1";

/// A struct somewhere in the metadata.
#[derive(Debug, Clone)]
pub(super) struct Entries<'a> {
    path: String,
    fields: &'a BTreeMap<String, Value>,
}

impl<'a> Entries<'a> {
    /// The struct that stands at a path.
    pub(super) fn new(path: impl Into<String>, fields: &'a BTreeMap<String, Value>) -> Self {
        Self { path: path.into(), fields }
    }

    /// The path of one of its entries.
    pub(super) fn path(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// The entries with the wanted keys, all of which have to be text.
    pub(super) fn texts(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = Result<(&'a str, &'a str), Invalid>> {
        self.fields.iter().filter(move |(key, _)| wanted(key)).map(|(key, value)| match &value.kind {
            Some(Kind::StringValue(text)) => Ok((key.as_str(), text.as_str())),
            _ => Err(self.wrong(key, "a string (quote numbers and booleans)")),
        })
    }

    /// Text; none if it is absent.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, Invalid> {
        match self.kind(key) {
            None => Ok(None),
            Some(Kind::StringValue(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// A struct within; none if it is absent.
    pub(super) fn entries(&self, key: &str) -> Result<Option<Self>, Invalid> {
        match self.kind(key) {
            None => Ok(None),
            Some(Kind::StructValue(inner)) => Ok(Some(Self::new(self.path(key), &inner.fields))),
            Some(_) => Err(self.wrong(key, "a map")),
        }
    }

    /// A list of structs; empty if it is absent.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, Invalid> {
        let list = match self.kind(key) {
            None => return Ok(Vec::new()),
            Some(Kind::ListValue(list)) => list,
            Some(_) => return Err(self.wrong(key, "a list")),
        };
        let path = self.path(key);
        let item = |(index, item): (usize, &'a Value)| match &item.kind {
            Some(Kind::StructValue(inner)) => Ok(Self::new(format!("{path}[{index}]"), &inner.fields)),
            _ => Err(Invalid::new(format!("{path}[{index}]"), "must be a map, such as {port: 8080}")),
        };
        list.values.iter().enumerate().map(item).collect()
    }

    /// A port; none if it is absent.
    pub(super) fn port(&self, key: &str) -> Result<Option<NonZeroU16>, Invalid> {
        const RULE: &str = "a whole number between 1 and 65535";
        match self.kind(key) {
            None => Ok(None),
            Some(Kind::NumberValue(number)) => match whole(*number).and_then(NonZeroU16::new) {
                Some(port) => Ok(Some(port)),
                None => Err(Invalid::new(self.path(key), format!("{number}: must be {RULE}"))),
            },
            Some(_) => Err(self.wrong(key, RULE)),
        }
    }

    /// A port that must be there.
    pub(super) fn required_port(&self, key: &str) -> Result<NonZeroU16, Invalid> {
        let missing = || Invalid::new(self.path(key), "is required and must be between 1 and 65535");
        self.port(key)?.ok_or_else(missing)
    }

    /// Where something listens: its `address`, and the given port.
    pub(super) fn place(&self, port: NonZeroU16) -> Result<Place, Invalid> {
        let text = self.text("address")?.filter(|text| !text.is_empty()).unwrap_or(LOCALHOST);
        let address: IpAddr = text.parse().map_err(|_| {
            let problem = format!(
                "{}: must be a literal IPv4 or IPv6 address, such as 127.0.0.1 or ::1; an Envoy can't be given names here",
                Quoted(text)
            );
            Invalid::new(self.path("address"), problem)
        })?;
        Ok(Place { address, port })
    }

    /// Refuses keys that nobody reads: with a misspelt one the wrong thing would
    /// be checked, and nobody would notice.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Invalid> {
        match self.fields.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let problem = format!("is not known here: use {}", known.join(", "));
                Err(Invalid::new(self.path(key), problem))
            }
        }
    }

    /// A key without a value counts as absent.
    fn kind(&self, key: &str) -> Option<&'a Kind> {
        self.fields.get(key)?.kind.as_ref().filter(|kind| !matches!(kind, Kind::NullValue(_)))
    }

    fn wrong(&self, key: &str, rule: &str) -> Invalid {
        Invalid::new(self.path(key), format!("must be {rule}"))
    }
}

/// A path with one more key. What is no usual key is quoted.
fn join(path: &str, key: &str) -> String {
    /// The longest key of a label: a DNS subdomain, a slash and a name.
    const LONGEST: usize = 253 + 1 + 63;
    let usual = |c: u8| c.is_ascii_alphanumeric() || b"-_./".contains(&c);
    if (1..=LONGEST).contains(&key.len()) && key.bytes().all(usual) {
        format!("{path}.{key}")
    } else {
        format!("{path}[{}]", Quoted(key))
    }
}

/// Numbers of the metadata are floating ones.
fn whole(number: f64) -> Option<u16> {
    let fits = number.fract() == 0.0 && (0.0..=f64::from(u16::MAX)).contains(&number);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and fits")]
    fits.then_some(number as u16)
}
