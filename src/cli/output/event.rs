//! Events as table rows, and as Kubernetes Event resources.

use std::time::SystemTime;

use serde::Serialize;

use super::{age::age, print::Printable};
use crate::{
    convert::resource::{
        DATAPLANE_KIND, EventFacts, EventResource, InvolvedObject, KUMA_API, Metadata, WARNING,
        WorkloadResource,
    },
    proto::{Event, EventType},
};

impl Printable for Event {
    const PLURAL: &'static str = "events";
    const HEADER: &'static [&'static str] =
        &["NAMESPACE", "LAST-SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"];
    const NARROW: usize = Self::HEADER.len();

    fn row(&self, now: SystemTime) -> Vec<String> {
        let InvolvedObject { kind, name, namespace, .. } = involved(self);
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
        let involved = involved(self);
        let facts = EventFacts {
            r#type: word(self.r#type()),
            reason: &self.reason,
            message: &self.message,
            count: self.count,
            first: self.first_time.as_ref().map(ToString::to_string),
            last: self.last_time.as_ref().map(ToString::to_string),
        };
        let metadata = Metadata { name: &self.uid, namespace: involved.namespace, ..Metadata::default() };
        EventResource::new(metadata, involved, facts)
    }
}

fn involved(event: &Event) -> InvolvedObject<'_> {
    let (workload, namespace) =
        event.regarding.as_ref().map_or(("", ""), |workload| (&workload.name, &workload.namespace));
    let (kind, name) = match event.dataplane.as_str() {
        "" => (WorkloadResource::KIND, workload),
        dataplane => (DATAPLANE_KIND, dataplane),
    };
    InvolvedObject { api_version: KUMA_API, kind, name, namespace, uid: None }
}

fn word(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Warning => WARNING,
        EventType::Normal => "Normal",
        EventType::Unspecified => "Unknown",
    }
}
