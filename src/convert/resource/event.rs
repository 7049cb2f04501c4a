//! An event, as Kubernetes' core API has it.

use serde::Serialize;
use uuid::Uuid;

use super::Metadata;

/// The type of an event that needs a person.
pub const WARNING: &str = "Warning";

/// What an event tells.
#[derive(Debug)]
pub struct EventFacts<'a> {
    /// `Warning` or `Normal`.
    pub r#type: &'static str,
    /// One word for machines.
    pub reason: &'a str,
    /// A sentence for people.
    pub message: &'a str,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Option<String>,
    /// The last time.
    pub last: Option<String>,
}

/// The resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventResource<'a> {
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
    source: Source,
}

/// What an event is about.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvolvedObject<'a> {
    /// Its group and version.
    pub api_version: &'a str,
    /// What it is.
    pub kind: &'static str,
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub namespace: &'a str,
    /// Of its life, if it is there.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::metadata::text")]
    pub uid: Option<Uuid>,
}

#[derive(Debug, Serialize)]
struct Source {
    component: &'static str,
}

impl<'a> EventResource<'a> {
    /// Who records all events here.
    pub const COMPONENT: &'static str = "headcount";

    /// An event about something.
    pub fn new(metadata: Metadata<'a>, involved_object: InvolvedObject<'a>, facts: EventFacts<'a>) -> Self {
        Self {
            api_version: "v1",
            kind: "Event",
            metadata,
            involved_object,
            r#type: facts.r#type,
            reason: facts.reason,
            message: facts.message,
            count: facts.count,
            first_timestamp: facts.first,
            last_timestamp: facts.last,
            source: Source { component: Self::COMPONENT },
        }
    }
}
