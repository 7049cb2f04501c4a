//! The Event resource of Kubernetes' core API.

use serde::Serialize;
use uuid::Uuid;

use super::Metadata;

/// The type of an event that needs attention.
pub const WARNING: &str = "Warning";

/// The content of an event.
#[derive(Debug)]
pub struct EventFacts<'a> {
    /// `Warning` or `Normal`.
    pub r#type: &'static str,
    /// A CamelCase word for programs.
    pub reason: &'a str,
    /// A message for people.
    pub message: &'a str,
    /// How often the event occurred.
    pub count: u64,
    /// Time of the first occurrence, in RFC 3339.
    pub first: Option<String>,
    /// Time of the last occurrence, in RFC 3339.
    pub last: Option<String>,
}

/// An event in the shape of the resource.
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

/// A reference to the object that an event is about.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InvolvedObject<'a> {
    /// The object's group and version.
    pub api_version: &'a str,
    /// The object's kind.
    pub kind: &'static str,
    /// The object's name.
    pub name: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's uid, if it exists.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "super::metadata::text")]
    pub uid: Option<Uuid>,
}

#[derive(Debug, Serialize)]
struct Source {
    component: &'static str,
}

impl<'a> EventResource<'a> {
    /// The component that records all events.
    pub const COMPONENT: &'static str = "headcount";

    /// Creates an event about an object.
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
