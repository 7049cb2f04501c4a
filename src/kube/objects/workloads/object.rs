//! A Workload as an object of the API.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use crate::{
    convert::resource::{Metadata, WorkloadResource, age_of},
    kube::objects::{
        kind::{Column, Kind},
        renderer::Object,
    },
    model::{ApiGroup, Workload, ZONE_LABEL},
};

const COLUMNS: [Column; 10] = [
    Column::name("The name that the dataplanes carry in the label kuma.io/workload."),
    Column::text("Mesh", "The mesh that holds the name."),
    Column::number("Connected", "Dataplanes with a live session."),
    Column::number("Healthy", "Connected dataplanes that report themselves healthy."),
    Column::number("Total", "Registered dataplanes."),
    Column::text("Age", "Time since the first dataplane registered."),
    Column::text("Zone", "The zone of the first dataplane that registered.").wide(),
    Column::text("Revision", "Revision of the last change.").wide(),
    Column::text("Last-Change", "Time since the counts last changed.").wide(),
    Column::text("UID", "Identifies the Workload from its creation to its deletion.").wide(),
];

/// The version in which Kuma serves Workloads.
const VERSION: &str = "v1alpha1";

/// Describes Workloads of an API group.
pub(crate) fn kind(group: &ApiGroup) -> Kind {
    Kind {
        group: group.to_string(),
        version: VERSION,
        api_version: format!("{group}/{VERSION}"),
        name: WorkloadResource::KIND,
        plural: "workloads",
        columns: &COLUMNS,
    }
}

/// A Workload as an API object, at the revision that the client is to see.
pub(super) struct WorkloadObject<'a> {
    pub(super) kind: &'a Kind,
    pub(super) workload: &'a Workload,
    pub(super) revision: u64,
}

impl<'a> WorkloadObject<'a> {
    pub(super) fn new(kind: &'a Kind, workload: &'a Workload) -> Self {
        Self { kind, workload, revision: workload.revision }
    }
}

impl Object for WorkloadObject<'_> {
    fn revision(&self) -> u64 {
        self.revision
    }

    fn metadata(&self) -> Metadata<'_> {
        let identity = &self.workload.identity;
        Metadata {
            name: identity.key.name.as_str(),
            namespace: identity.key.namespace.as_str(),
            uid: Some(identity.uid),
            resource_version: Some(self.revision),
            generation: Some(1),
            creation_timestamp: Some(humantime::format_rfc3339_seconds(identity.creation_time)),
            ..Metadata::default()
        }
        .with_labels(identity.labels.iter())
    }

    fn resource(&self) -> impl Serialize {
        WorkloadResource::new(&self.kind.api_version, self.metadata(), self.workload.counts)
    }

    fn cells(&self, now: SystemTime) -> Vec<Value> {
        let (identity, counts) = (&self.workload.identity, self.workload.counts);
        vec![
            identity.key.name.as_str().into(),
            identity.mesh.as_str().into(),
            counts.connected.into(),
            counts.healthy.into(),
            counts.total.into(),
            age_of(identity.creation_time, now).into(),
            identity.labels.get(ZONE_LABEL).into(),
            self.revision.to_string().into(),
            age_of(self.workload.last_transition_time, now).into(),
            identity.uid.to_string().into(),
        ]
    }
}
