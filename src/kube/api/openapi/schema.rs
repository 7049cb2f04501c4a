//! The schema of each kind.

pub(super) use crate::kube::objects::kind::Kind;

/// The schema of a value.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) description: &'static str,
    pub(super) shape: Shape,
}

#[derive(Debug)]
pub(super) enum Shape {
    Text,
    /// A time in RFC 3339.
    Time,
    Number,
    /// An object with these fields.
    Object(&'static [Field]),
    /// An object with any fields. Used for metadata: kubectl's `edit` fails if the schema lists
    /// only some of its fields.
    Free,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) required: bool,
    pub(super) schema: Schema,
}

/// The schema of a kind, and where its collections are.
#[derive(Debug)]
pub(super) struct Definition<'a> {
    /// Such as `io.kuma.v1alpha1.Workload`.
    pub(super) name: String,
    /// The parent of its collections.
    pub(super) path: String,
    pub(super) kind: &'a Kind,
    pub(super) schema: &'static Schema,
}

impl Definition<'_> {
    /// Returns the paths of its collections and objects, each with its action.
    pub(super) fn paths(&self) -> [(String, &'static str); 3] {
        let Self { path, kind: Kind { plural, .. }, .. } = self;
        [
            (format!("{path}/{plural}"), "list"),
            (format!("{path}/namespaces/{{namespace}}/{plural}"), "list"),
            (format!("{path}/namespaces/{{namespace}}/{plural}/{{name}}"), "get"),
        ]
    }
}

impl Shape {
    /// Returns the type and the format in terms of JSON Schema; the format may be empty.
    pub(super) fn type_and_format(&self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("string", ""),
            Self::Time => ("string", "date-time"),
            Self::Number => ("integer", "int32"),
            Self::Object(_) | Self::Free => ("object", ""),
        }
    }

    pub(super) fn fields(&self) -> &'static [Field] {
        match self {
            Self::Object(fields) => fields,
            _ => &[],
        }
    }

    pub(super) fn required(&self) -> Vec<&'static str> {
        self.fields().iter().filter(|field| field.required).map(|field| field.name).collect()
    }
}

const fn field(name: &'static str, shape: Shape, description: &'static str) -> Field {
    Field { name, required: false, schema: Schema { description, shape } }
}

const fn required(name: &'static str, shape: Shape, description: &'static str) -> Field {
    Field { required: true, ..field(name, shape, description) }
}

const API_VERSION: Field = field("apiVersion", Shape::Text, "Group and version of this representation.");
const KIND: Field = field("kind", Shape::Text, "What this represents.");
const METADATA: Field = field("metadata", Shape::Free, "Kubernetes' standard metadata.");

pub(super) static WORKLOAD: Schema = Schema {
    description: "A Workload is all data plane proxies of one mesh and namespace that carry its name in the label \
                  kuma.io/workload. It is managed automatically: it exists while such a proxy is registered.",
    shape: Shape::Object(&[
        API_VERSION,
        KIND,
        METADATA,
        field("spec", Shape::Free, "Always empty: a Workload is observed, not specified."),
        field(
            "status",
            Shape::Object(&[required(
                "dataplaneProxies",
                Shape::Object(&[
                    required("connected", Shape::Number, "Data plane proxies with a live session."),
                    required(
                        "healthy",
                        Shape::Number,
                        "Connected data plane proxies that report themselves healthy.",
                    ),
                    required(
                        "total",
                        Shape::Number,
                        "Registered data plane proxies; one that was lost without a goodbye stays registered for a \
                         while.",
                    ),
                ]),
                "The number of data plane proxies. Always healthy <= connected <= total.",
            )]),
            "The observed state.",
        ),
    ]),
};

pub(super) static EVENT: Schema = Schema {
    description: "An Event is something that an operator should know, such as a Workload name that several meshes \
                  use. The newest 1,000 are kept.",
    shape: Shape::Object(&[
        API_VERSION,
        KIND,
        METADATA,
        field(
            "involvedObject",
            Shape::Object(&[
                field("apiVersion", Shape::Text, "Group and version of the object."),
                field("kind", Shape::Text, "Workload, or Dataplane for a proxy that was refused."),
                field("name", Shape::Text, "Its name."),
                field("namespace", Shape::Text, "Its namespace."),
                field("uid", Shape::Text, "Its UID, if it exists."),
            ]),
            "What the event is about.",
        ),
        field("reason", Shape::Text, "One word for machines."),
        field("message", Shape::Text, "A sentence for people."),
        field("type", Shape::Text, "Warning, or Normal."),
        field("count", Shape::Number, "Number of occurrences."),
        field("firstTimestamp", Shape::Time, "Time of the first occurrence."),
        field("lastTimestamp", Shape::Time, "Time of the last occurrence."),
        field(
            "source",
            Shape::Object(&[field("component", Shape::Text, "headcount.")]),
            "The component that recorded the event.",
        ),
    ]),
};
