//! The unary calls and watches of the services.

mod backup;
mod dataplane;
mod event;
mod mesh_identity;
mod page;
mod read_only;
mod token;
mod warming;
mod workload;

pub(super) use self::{
    backup::Backups, dataplane::Dataplanes, event::Events, mesh_identity::Identities,
    read_only::reject_writes, token::Tokens, workload::Workloads,
};
