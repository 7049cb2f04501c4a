//! The unary calls and watches of the services.

mod backup;
mod dataplane;
mod event;
mod page;
mod read_only;
mod token;
mod warming;
mod workload;

pub(super) use self::{
    backup::Backups, dataplane::Dataplanes, event::Events, read_only::reject_writes, token::Tokens,
    workload::Workloads,
};
