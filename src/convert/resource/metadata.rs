//! The metadata of resources.

use std::fmt::Display;

use humantime::Rfc3339Timestamp;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::model::MESH_LABEL;

/// The part of Kubernetes' `ObjectMeta` that is used. Fields that are not set are left out.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<'a> {
    /// The object's name.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub name: &'a str,
    /// The object's namespace.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub namespace: &'a str,
    /// The object's uid; an object that is created again gets a new one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub uid: Option<Uuid>,
    /// The revision of the object. Kubernetes serializes it as a string, because clients must
    /// treat it as opaque.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub resource_version: Option<u64>,
    /// The generation of the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When the object was created.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub creation_timestamp: Option<Rfc3339Timestamp>,
    /// Labels: the mesh first, as in Kuma's documentation, then the others by key.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "map")]
    pub labels: Vec<(&'a str, &'a str)>,
    /// Annotations.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "map")]
    pub annotations: Vec<(&'a str, &'a str)>,
}

impl<'a> Metadata<'a> {
    /// Sets the labels, which must be sorted by key.
    #[must_use]
    pub fn with_labels(mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.labels = labels.into_iter().collect();
        self.labels.sort_by_key(|(key, _)| *key != MESH_LABEL);
        self
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
pub(super) fn text<T: Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn map<S: Serializer>(pairs: &[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}
