//! Workloads and events as Kubernetes resources, which the command line prints and the Kubernetes
//! API serves.

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

/// The kind of a dataplane that an event is about.
pub const DATAPLANE_KIND: &str = "Dataplane";

/// The default group and version of Workloads.
pub const KUMA_API: &str = "kuma.io/v1alpha1";
