//! How a Workload and an event look as Kubernetes' resources. The command line
//! prints and the Kubernetes API serves the same document, so one place makes it.

mod age;
mod event;
mod metadata;
mod workload;

pub use self::{
    age::{age, age_of},
    event::{EventFacts, EventResource, InvolvedObject, WARNING},
    metadata::Metadata,
    workload::WorkloadResource,
};

/// What a proxy is called that an event is about.
pub const DATAPLANE_KIND: &str = "Dataplane";

/// What `kubectl` calls a Workload's group, unless it is told otherwise.
pub const KUMA_API: &str = "kuma.io/v1alpha1";
