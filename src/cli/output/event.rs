//! Events, as rows and in Kubernetes' shape.

use std::time::SystemTime;

use serde::Serialize;

use super::{age::age, show::Show};
use crate::proto::{Event, EventType};

impl Show for Event {
    const PLURAL: &'static str = "events";
    const HEADER: &'static [&'static str] =
        &["NAMESPACE", "LAST-SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"];
    const NARROW: usize = Self::HEADER.len();

    fn row(&self, now: SystemTime) -> Vec<String> {
        let InvolvedObject { kind, name, namespace, .. } = InvolvedObject::of(self);
        vec![
            namespace.to_owned(),
            age(self.last_time.as_ref(), now),
            word(self.r#type()).to_owned(),
            self.reason.clone(),
            format!("{}/{name}", kind.to_lowercase()),
            self.count.to_string(),
            self.message.clone(),
        ]
    }

    fn resource(&self) -> impl Serialize {
        EventResource::new(self)
    }
}

fn word(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Warning => "Warning",
        EventType::Normal => "Normal",
        EventType::Unspecified => "Unknown",
    }
}

/// The resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventResource<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    involved_object: InvolvedObject<'a>,
    r#type: &'static str,
    reason: &'a str,
    message: &'a str,
    count: u64,
    first_timestamp: Option<String>,
    last_timestamp: Option<String>,
}

#[derive(Debug, Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InvolvedObject<'a> {
    api_version: &'static str,
    kind: &'static str,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> InvolvedObject<'a> {
    fn of(event: &'a Event) -> Self {
        let (workload, namespace) =
            event.regarding.as_ref().map_or(("", ""), |workload| (&workload.name, &workload.namespace));
        let (kind, name) = match event.dataplane.as_str() {
            "" => ("Workload", workload),
            dataplane => ("Dataplane", dataplane),
        };
        Self { api_version: "kuma.io/v1alpha1", kind, name, namespace }
    }
}

impl<'a> EventResource<'a> {
    fn new(event: &'a Event) -> Self {
        let involved_object = InvolvedObject::of(event);
        Self {
            api_version: "v1",
            kind: "Event",
            metadata: Metadata { name: &event.uid, namespace: involved_object.namespace },
            involved_object,
            r#type: word(event.r#type()),
            reason: &event.reason,
            message: &event.message,
            count: event.count,
            first_timestamp: event.first_time.as_ref().map(ToString::to_string),
            last_timestamp: event.last_time.as_ref().map(ToString::to_string),
        }
    }
}
