//! Events, as rows and in Kubernetes' shape.

use std::time::SystemTime;

use serde::Serialize;

use super::{show::Show, since::age};
use crate::{
    proto::{Event, EventType},
    resource::{EventFacts, EventResource, KUMA_API, Metadata, WARNING},
};

impl Show for Event {
    const PLURAL: &'static str = "events";
    const HEADER: &'static [&'static str] =
        &["NAMESPACE", "LAST-SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"];
    const NARROW: usize = Self::HEADER.len();

    fn row(&self, now: SystemTime) -> Vec<String> {
        let regarding = self.regarding.clone().unwrap_or_default();
        vec![
            regarding.namespace,
            age(self.last_time.as_ref(), now),
            word(self.r#type()).to_owned(),
            self.reason.clone(),
            format!("workload/{}", regarding.name),
            self.count.to_string(),
            self.message.clone(),
        ]
    }

    fn resource(&self) -> impl Serialize {
        let (name, namespace) =
            self.regarding.as_ref().map_or(("", ""), |workload| (&workload.name, &workload.namespace));
        let facts = EventFacts {
            r#type: word(self.r#type()),
            reason: &self.reason,
            message: &self.message,
            count: self.count,
            first: self.first_time.as_ref().map(ToString::to_string),
            last: self.last_time.as_ref().map(ToString::to_string),
        };
        let metadata = Metadata { name: &self.uid, namespace, ..Metadata::default() };
        let workload = Metadata { name, namespace, ..Metadata::default() };
        EventResource::new(metadata, KUMA_API, workload, facts)
    }
}

fn word(event_type: EventType) -> &'static str {
    match event_type {
        EventType::Warning => WARNING,
        EventType::Normal => "Normal",
        EventType::Unspecified => "Unknown",
    }
}
