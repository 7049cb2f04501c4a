//! Serializes objects in every representation that a client can request.

use std::{sync::Arc, time::SystemTime};

use serde::Serialize;
use serde_json::Value;

use super::kind::{Column, Kind};
use crate::{
    convert::resource::Metadata,
    kube::protocol::{negotiation::Representation, options::IncludeObject, response::to_json},
    registry::Encoding,
};

/// An object that a [`Renderer`] can serialize.
pub(crate) trait Object {
    /// The revision at which the object got its state.
    fn revision(&self) -> u64;
    fn metadata(&self) -> Metadata<'_>;
    /// The whole object.
    fn resource(&self) -> impl Serialize;
    /// One cell for each column of its kind.
    fn cells(&self, now: SystemTime) -> Vec<Value>;
}

/// Serializes objects of one kind in one representation.
#[derive(Debug, Clone)]
pub(crate) struct Renderer {
    pub(crate) kind: Arc<Kind>,
    pub(crate) representation: Representation,
    pub(crate) include: IncludeObject,
}

impl Renderer {
    /// Renders one object. A table contains its columns only if `columns` is true: a watch
    /// sends them once.
    pub(crate) fn object(&self, object: &impl Object, columns: bool) -> Vec<u8> {
        match self.representation {
            Representation::Full => to_json(&object.resource()),
            Representation::Metadata => to_json(&PartialObject::new(object.metadata())),
            Representation::Table(api_version) => {
                let list = ListMetadata { resource_version: object.revision().to_string(), r#continue: "" };
                let head = TableHead::new(api_version, list, columns.then_some(self.kind.columns));
                let mut text = Self::open_list(&head, "rows");
                text.extend(self.row(object));
                text.extend_from_slice(LIST_END);
                text
            }
        }
    }

    /// Returns the encoding whose bytes all watches in this representation share, if there is
    /// one: the whole objects, and the tables that kubectl requests.
    pub(crate) fn shared_encoding(&self) -> Option<Encoding> {
        match (self.representation, self.include) {
            (Representation::Full, _) => Some(Encoding::Json),
            (Representation::Table(META), IncludeObject::Metadata) => Some(Encoding::Table),
            _ => None,
        }
    }

    /// Renders the part of a list before its items.
    pub(crate) fn list_start(&self, revision: u64, next: &str) -> Vec<u8> {
        let metadata = ListMetadata { resource_version: revision.to_string(), r#continue: next };
        let head = |api_version, kind| ListHead { kind, api_version, metadata: &metadata };
        match self.representation {
            Representation::Full => {
                Self::open_list(&head(&self.kind.api_version, &format!("{}List", self.kind.name)), "items")
            }
            Representation::Metadata => Self::open_list(&head(META, "PartialObjectMetadataList"), "items"),
            Representation::Table(api_version) => {
                Self::open_list(&TableHead::new(api_version, metadata, Some(self.kind.columns)), "rows")
            }
        }
    }

    /// Renders an item of a list.
    pub(crate) fn list_item(&self, object: &impl Object) -> Vec<u8> {
        match self.representation {
            Representation::Table(_) => self.row(object),
            Representation::Full | Representation::Metadata => self.object(object, false),
        }
    }

    /// Renders a bookmark: an object that has a revision and no name.
    pub(crate) fn bookmark(&self, revision: u64, annotations: Vec<(&str, &str)>) -> Vec<u8> {
        let metadata = Metadata { resource_version: Some(revision), annotations, ..Metadata::default() };
        self.object(&Bookmark { kind: &self.kind, metadata }, false)
    }

    fn row(&self, object: &impl Object) -> Vec<u8> {
        let cells = object.cells(SystemTime::now());
        match self.include {
            IncludeObject::None => to_json(&Row { cells, object: None::<()> }),
            IncludeObject::Metadata => {
                to_json(&Row { cells, object: Some(PartialObject::new(object.metadata())) })
            }
            IncludeObject::Object => to_json(&Row { cells, object: Some(object.resource()) }),
        }
    }

    /// Serializes `head` without its closing bracket, followed by the start of an array.
    fn open_list(head: &impl Serialize, name: &str) -> Vec<u8> {
        let mut text = to_json(head);
        text.pop();
        text.extend_from_slice(format!(",\"{name}\":[").as_bytes());
        text
    }
}

/// Separates the items of a list.
pub(crate) const LIST_SEPARATOR: &[u8] = b",";
/// Follows the last item of a list.
pub(crate) const LIST_END: &[u8] = b"]}";

/// API version of representations that are not a resource's own.
const META: &str = "meta.k8s.io/v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListHead<'a> {
    kind: &'a str,
    api_version: &'a str,
    metadata: &'a ListMetadata<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TableHead<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: ListMetadata<'a>,
    column_definitions: Option<&'a [Column]>,
}

impl<'a> TableHead<'a> {
    fn new(api_version: &'static str, metadata: ListMetadata<'a>, columns: Option<&'a [Column]>) -> Self {
        Self { kind: "Table", api_version, metadata, column_definitions: columns }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata<'a> {
    resource_version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    r#continue: &'a str,
}

#[derive(Serialize)]
struct Row<T> {
    cells: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<T>,
}

/// An object of which only the metadata is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PartialObject<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata<'a>,
}

impl<'a> PartialObject<'a> {
    fn new(metadata: Metadata<'a>) -> Self {
        Self { kind: "PartialObjectMetadata", api_version: META, metadata }
    }
}

struct Bookmark<'a> {
    kind: &'a Kind,
    metadata: Metadata<'a>,
}

impl Object for Bookmark<'_> {
    fn revision(&self) -> u64 {
        self.metadata.resource_version.unwrap_or_default()
    }

    fn metadata(&self) -> Metadata<'_> {
        self.metadata.clone()
    }

    fn resource(&self) -> impl Serialize {
        ObjectHead { kind: self.kind.name, api_version: &self.kind.api_version, metadata: &self.metadata }
    }

    fn cells(&self, _: SystemTime) -> Vec<Value> {
        vec![Value::Null; self.kind.columns.len()]
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectHead<'a> {
    kind: &'a str,
    api_version: &'a str,
    metadata: &'a Metadata<'a>,
}
