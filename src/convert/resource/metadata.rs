//! What every resource says of itself.

use std::fmt::Display;

use humantime::Rfc3339Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::model::MESH_LABEL;

/// Kubernetes' `ObjectMeta`, as far as it is used. What is not set is left out.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    /// Of the resource.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    /// Where it is.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: &'a str,
    /// Of its life.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub uid: Option<Uuid>,
    /// When it became as it is, by the number that readers hand back. A text,
    /// because Kubernetes lets no client count with it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub resource_version: Option<u64>,
    /// Of its specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When its life began.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub creation_timestamp: Option<Rfc3339Timestamp>,
    /// The mesh, which Kuma's documentation has first, then the others by name.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "map")]
    pub labels: Vec<(&'a str, &'a str)>,
    /// What programs say to each other.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "map")]
    pub annotations: Vec<(&'a str, &'a str)>,
}

impl<'a> Metadata<'a> {
    /// The same with labels, which come in the order of their keys.
    #[must_use]
    pub fn with_labels(mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.labels = labels.into_iter().collect();
        self.labels.sort_by_key(|(key, _)| *key != MESH_LABEL);
        self
    }
}

#[expect(clippy::ref_option, reason = "serde passes it so")]
pub(super) fn text<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn map<S: Serializer>(pairs: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}
