//! Conversion between protobuf messages, documents and the domain model. Messages and documents
//! are validated here, once, where they enter.

mod dataplane;
pub(crate) mod document;
mod filter;
mod health;
mod mesh_identity;
pub mod record;
pub mod resource;
pub mod token;
mod workload;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

pub(crate) use self::filter::abridged;
pub use self::{
    dataplane::{attempt, dataplane_from_hello, dataplane_to_proto, heartbeat_interval},
    document::Violations,
    filter::{filter_from_proto, optional, selector_from_proto},
    health::{report_from_proto, report_to_proto},
    mesh_identity::{
        MeshIdentityDocument, mesh_identity_from_proto, mesh_identity_from_store, mesh_identity_message,
        mesh_identity_spec_value, mesh_identity_to_proto, mesh_identity_to_store,
    },
    workload::{encoded, workload_ref},
};
use crate::model::{Invalid, Labels};

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Converts a point in time.
pub fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// The keepalive intervals that a watcher may choose. With a shorter one, ten thousand watchers
/// would cost as much as their changes; a longer one is longer than any proxy leaves a stream idle.
const KEEPALIVE_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(5);

/// Converts the keepalive interval of a watch; none if the request has none.
///
/// # Errors
///
/// If it is not between 1 s and 5 min.
pub fn keepalive_interval(stated: Option<prost_types::Duration>) -> Result<Option<Duration>, Invalid> {
    duration_within("keepalive_interval", stated, &KEEPALIVE_INTERVALS)
}

/// Converts an optional duration.
///
/// # Errors
///
/// If it is not in the range.
pub fn duration_within(
    field: &str,
    stated: Option<prost_types::Duration>,
    range: &RangeInclusive<Duration>,
) -> Result<Option<Duration>, Invalid> {
    let Some(stated) = stated else { return Ok(None) };
    let duration = Duration::try_from(stated).ok().filter(|duration| range.contains(duration));
    let problem = || format!("{stated}: must be between {:?} and {:?}", range.start(), range.end());
    duration.map(Some).ok_or_else(|| Invalid::new(field, problem()))
}

/// Converts a duration; the largest duration of protobuf stands for longer ones.
pub fn duration(duration: Duration) -> prost_types::Duration {
    const LONGEST: prost_types::Duration = prost_types::Duration { seconds: 315_576_000_000, nanos: 0 };
    duration.try_into().unwrap_or(LONGEST)
}
