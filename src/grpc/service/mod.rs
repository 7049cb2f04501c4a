//! The unary calls and watches of the services.

mod dataplane;
mod event;
mod page;
mod read_only;
mod warming;
mod workload;

pub(super) use self::{dataplane::Dataplanes, event::Events, read_only::reject_writes, workload::Workloads};
