//! Objects in all the forms in which they can be asked for.

use std::{sync::Arc, time::SystemTime};

use serde::Serialize;
use serde_json::Value;

use crate::{
    convert::resource::Metadata,
    kube::protocol::{negotiation::Form, options::Include, response::encode},
    registry::Encoding,
};

/// A type of objects.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Such as `kuma.io`; empty for Kubernetes' core.
    pub(crate) group: String,
    /// Group and version, or the version alone.
    pub(crate) api_version: String,
    /// Such as `Workload`.
    pub(crate) name: &'static str,
    /// Such as `workloads`.
    pub(crate) plural: &'static str,
    /// Of its tables.
    pub(crate) columns: &'static [Column],
}

/// A column of a table.
#[derive(Debug, Serialize)]
pub(crate) struct Column {
    name: &'static str,
    r#type: &'static str,
    format: &'static str,
    description: &'static str,
    /// 0 is always shown, 1 only if more is wanted.
    priority: u8,
}

impl Column {
    pub(crate) const fn text(name: &'static str, description: &'static str) -> Self {
        Self { name, r#type: "string", format: "", description, priority: 0 }
    }

    pub(crate) const fn name(description: &'static str) -> Self {
        Self { format: "name", ..Self::text("Name", description) }
    }

    pub(crate) const fn number(name: &'static str, description: &'static str) -> Self {
        Self { r#type: "integer", format: "int32", ..Self::text(name, description) }
    }

    #[must_use]
    pub(crate) const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }
}

/// An object as it is shown.
pub(crate) trait Shown {
    /// When it became so.
    fn revision(&self) -> u64;
    /// What it says of itself.
    fn metadata(&self) -> Metadata<'_>;
    /// The whole of it.
    fn resource(&self) -> impl Serialize;
    /// A cell for each column of its kind.
    fn cells(&self, now: SystemTime) -> Vec<Value>;
}

/// Writes objects of one kind in one form.
#[derive(Debug, Clone)]
pub(crate) struct Pen {
    pub(crate) kind: Arc<Kind>,
    pub(crate) form: Form,
    pub(crate) include: Include,
}

impl Pen {
    /// One object. A table has `columns`, or leaves them out where the reader has
    /// them already.
    pub(crate) fn object(&self, shown: &impl Shown, columns: bool) -> Vec<u8> {
        match self.form {
            Form::Plain => encode(&shown.resource()),
            Form::Metadata => encode(&Partial::new(shown.metadata())),
            Form::Table(api_version) => {
                let list = ListMetadata { resource_version: shown.revision().to_string(), r#continue: "" };
                let head = TableHead::new(api_version, list, columns.then_some(self.kind.columns));
                let mut text = Self::open(&head, "rows");
                text.extend(self.row(shown));
                text.extend_from_slice(END);
                text
            }
        }
    }

    /// The encoding in which all who watch in this form are told the same.
    pub(crate) fn shared(&self) -> Option<Encoding> {
        match (self.form, self.include) {
            (Form::Plain, _) => Some(Encoding::Json),
            // What kubectl asks for.
            (Form::Table(META), Include::Metadata) => Some(Encoding::Table),
            _ => None,
        }
    }

    /// What stands before the items of a list.
    pub(crate) fn begin(&self, revision: u64, next: &str) -> Vec<u8> {
        let metadata = ListMetadata { resource_version: revision.to_string(), r#continue: next };
        let head = |api_version, kind| ListHead { kind, api_version, metadata: &metadata };
        match self.form {
            Form::Plain => {
                Self::open(&head(&self.kind.api_version, &format!("{}List", self.kind.name)), "items")
            }
            Form::Metadata => Self::open(&head(META, "PartialObjectMetadataList"), "items"),
            Form::Table(api_version) => {
                Self::open(&TableHead::new(api_version, metadata, Some(self.kind.columns)), "rows")
            }
        }
    }

    /// An item of a list.
    pub(crate) fn item(&self, shown: &impl Shown) -> Vec<u8> {
        match self.form {
            Form::Table(_) => self.row(shown),
            Form::Plain | Form::Metadata => self.object(shown, false),
        }
    }

    /// A position in a stream and nothing else, in the form of an object without
    /// a name.
    pub(crate) fn bookmark(&self, revision: u64, annotations: Vec<(&str, &str)>) -> Vec<u8> {
        let metadata = Metadata { resource_version: Some(revision), annotations, ..Metadata::default() };
        self.object(&Bookmark { kind: &self.kind, metadata }, false)
    }

    fn row(&self, shown: &impl Shown) -> Vec<u8> {
        let cells = shown.cells(SystemTime::now());
        match self.include {
            Include::Nothing => encode(&Row { cells, object: None::<()> }),
            Include::Metadata => encode(&Row { cells, object: Some(Partial::new(shown.metadata())) }),
            Include::Object => encode(&Row { cells, object: Some(shown.resource()) }),
        }
    }

    /// A document without its last bracket, and a list that is open.
    fn open(head: &impl Serialize, list: &str) -> Vec<u8> {
        let mut text = encode(head);
        text.pop();
        text.extend_from_slice(format!(",\"{list}\":[").as_bytes());
        text
    }
}

/// What stands between the items of a list.
pub(crate) const COMMA: &[u8] = b",";
/// What stands behind the last one.
pub(crate) const END: &[u8] = b"]}";

/// The group of forms that are not a resource's own.
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

/// An object's metadata alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Partial<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata<'a>,
}

impl<'a> Partial<'a> {
    fn new(metadata: Metadata<'a>) -> Self {
        Self { kind: "PartialObjectMetadata", api_version: META, metadata }
    }
}

struct Bookmark<'a> {
    kind: &'a Kind,
    metadata: Metadata<'a>,
}

impl Shown for Bookmark<'_> {
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
