//! An event as an object of the API.

use std::{sync::Arc, time::SystemTime};

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    convert::resource::{
        DATAPLANE_KIND, EventFacts, EventResource, InvolvedObject, Metadata, WARNING, WorkloadResource,
        age_of,
    },
    kube::{
        objects::{
            kind::{Column, Kind},
            renderer::Object,
            state::ApiState,
            workloads::uid_of,
        },
        protocol::options::Selection,
    },
    registry::events::{Event, Regarding},
};

/// The columns that kubectl prints for events of any Kubernetes cluster.
const COLUMNS: [Column; 8] = [
    Column::text("Last Seen", "Time since the last occurrence."),
    Column::text("Type", "Warning, or Normal."),
    Column::text("Reason", "One word for machines."),
    Column::text("Object", "The object that the event is about."),
    Column::text("Message", "A sentence for people."),
    Column::text("First Seen", "Time since the first occurrence.").wide(),
    Column::number("Count", "Number of occurrences.").wide(),
    Column::name("The name of the event, the same for all occurrences.").wide(),
];

/// Describes events of Kubernetes' core API.
pub(crate) fn kind() -> Kind {
    Kind {
        group: String::new(),
        version: "v1",
        api_version: "v1".to_owned(),
        name: "Event",
        plural: "events",
        columns: &COLUMNS,
    }
}

/// An event as an API object, with the UID of the Workload that it is about, if that exists.
pub(super) struct EventObject {
    event: Arc<Event>,
    name: String,
    workload_uid: Option<Uuid>,
    workloads: Arc<Kind>,
}

impl EventObject {
    pub(super) fn new(state: &ApiState, event: Arc<Event>) -> Self {
        let workload_uid = event.regarding.workload().and_then(|key| uid_of(state, key));
        Self { name: event.uid.to_string(), workload_uid, workloads: Arc::clone(&state.workloads), event }
    }

    fn involved(&self) -> InvolvedObject<'_> {
        let (kind, name) = match &self.event.regarding {
            Regarding::Workload(key) => (WorkloadResource::KIND, key.name.as_str()),
            Regarding::Proxy(proxy) => (DATAPLANE_KIND, proxy.name()),
        };
        let namespace = self.event.regarding.namespace().as_str();
        let api_version = &self.workloads.api_version;
        InvolvedObject { api_version, kind, name, namespace, uid: self.workload_uid }
    }

    pub(super) fn matches(&self, selection: &Selection, namespace: Option<&str>) -> bool {
        let involved = self.involved();
        let uid = self.workload_uid.map(|uid| uid.to_string()).unwrap_or_default();
        namespace.is_none_or(|namespace| namespace == involved.namespace)
            && selection.labels.matches(|_| None)
            && selection.fields.matches(|field| match field {
                "metadata.name" => &self.name,
                "metadata.namespace" | "involvedObject.namespace" => involved.namespace,
                "involvedObject.kind" => involved.kind,
                "involvedObject.name" => involved.name,
                "involvedObject.uid" => &uid,
                "involvedObject.apiVersion" => involved.api_version,
                "reason" => self.event.reason.as_str(),
                "source" | "reportingComponent" => EventResource::COMPONENT,
                "type" => WARNING,
                _ => "",
            })
    }
}

impl Object for EventObject {
    fn revision(&self) -> u64 {
        self.event.number
    }

    fn metadata(&self) -> Metadata<'_> {
        Metadata {
            name: &self.name,
            namespace: self.event.regarding.namespace().as_str(),
            uid: Some(self.event.uid),
            resource_version: Some(self.event.number),
            creation_timestamp: Some(humantime::format_rfc3339_seconds(self.event.first_time)),
            ..Metadata::default()
        }
    }

    fn resource(&self) -> impl Serialize {
        let event = &*self.event;
        let at = |time| Some(humantime::format_rfc3339_seconds(time).to_string());
        let facts = EventFacts {
            r#type: WARNING,
            reason: event.reason.as_str(),
            message: &event.message,
            count: event.count,
            first: at(event.first_time),
            last: at(event.last_time),
        };
        EventResource::new(self.metadata(), self.involved(), facts)
    }

    fn cells(&self, now: SystemTime) -> Vec<Value> {
        let (event, involved) = (&self.event, self.involved());
        vec![
            age_of(event.last_time, now).into(),
            WARNING.into(),
            event.reason.as_str().into(),
            format!("{}/{}", involved.kind.to_lowercase(), involved.name).into(),
            event.message.as_str().into(),
            age_of(event.first_time, now).into(),
            event.count.into(),
            self.name.as_str().into(),
        ]
    }
}
