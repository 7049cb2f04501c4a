//! The warming state in responses.

use crate::{
    convert,
    proto::Warming,
    registry::{Registry, WarmingStatus},
};

/// The warming state of the server; none if it is not warming. Unary calls read it before the
/// state that they return: otherwise they could return a state of a warming server without it.
pub(super) fn warming(registry: &Registry) -> Option<Warming> {
    registry.warming().map(to_proto)
}

fn to_proto(WarmingStatus { missing, remaining }: WarmingStatus) -> Warming {
    Warming {
        missing_dataplanes: missing.try_into().unwrap_or(u32::MAX),
        remaining: Some(convert::duration(remaining)),
    }
}
