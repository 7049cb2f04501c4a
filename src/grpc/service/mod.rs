//! The unary calls and watches of the services.

mod dataplane;
mod event;
mod read_only;
mod workload;

pub(super) use self::{dataplane::Dataplanes, event::Events, read_only::reject_writes, workload::Workloads};

/// The number of items in a page: as requested, at most 1,000, and 500 by default.
fn page_size(requested: u32) -> usize {
    match requested {
        0 => 500,
        requested => requested.min(1_000) as usize,
    }
}
