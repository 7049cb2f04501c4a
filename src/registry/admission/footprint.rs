//! How much memory a registration takes.

use std::mem::size_of;

use crate::{
    model::{Dataplane, Workload, WorkloadIdentity, shared_allocation},
    registry::{
        cell::SessionCell,
        counts::Entry,
        registration::{ByKey, Registration},
    },
};

use super::MemoryPermit;

/// The most places of a map or tree for each value in it: half are empty after it has grown.
pub(super) const PLACES: usize = 3;
/// The labels of a Workload, which the server sets, and its encoded message.
const WORKLOAD_TEXTS: usize = 640;

/// The bytes of memory that a registration takes, with its session and its Workload. It
/// depends on the dataplane alone: what dataplanes share with each other, such as strings
/// and the Workload, counts for each of them. The sum is therefore more than the memory
/// that a fleet of similar dataplanes takes, and never less.
pub(crate) fn footprint(dataplane: &Dataplane) -> usize {
    let maps = PLACES * (size_of::<ByKey>() + size_of::<Registration>());
    // The queue of idle sessions. The two queues of lost dataplanes and the loss itself take
    // less than the cell, which they replace.
    let queue = PLACES * 4 * size_of::<usize>();
    let session = shared_allocation(size_of::<SessionCell>()) + shared_allocation(size_of::<MemoryPermit>());
    let workload = shared_allocation(size_of::<Entry>())
        + PLACES * 5 * size_of::<usize>()
        + shared_allocation(size_of::<WorkloadIdentity>())
        + shared_allocation(size_of::<Workload>())
        + WORKLOAD_TEXTS;
    dataplane.memory() + maps + queue + session + workload
}
