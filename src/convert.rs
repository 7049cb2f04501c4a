//! Conversion between protobuf messages and the domain model. Messages are validated here, once,
//! where they enter.

mod dataplane;
mod filter;
mod health;
pub mod resource;
mod workload;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

pub(crate) use self::filter::abridged;
pub use self::{
    dataplane::{attempt, dataplane_from_hello, dataplane_to_proto, heartbeat_interval},
    filter::{filter_from_proto, optional, selector_from_proto},
    health::{report_from_proto, report_to_proto},
    workload::{encoded, workload_ref},
};
use crate::model::Labels;

fn label_map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Converts a point in time.
pub fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    time.into()
}

/// Converts a duration; the largest duration of protobuf stands for longer ones.
pub fn duration(duration: Duration) -> prost_types::Duration {
    const LONGEST: prost_types::Duration = prost_types::Duration { seconds: 315_576_000_000, nanos: 0 };
    duration.try_into().unwrap_or(LONGEST)
}
