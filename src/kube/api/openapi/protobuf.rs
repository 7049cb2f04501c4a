//! `OpenAPI` 2 in protobuf, for kubectl: the messages of gnostic's `OpenAPIv2.proto`, with the
//! fields that kubectl reads.

use prost::Message;

use super::schema::{self, Definition};

#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Schemas>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {}

/// Definitions or properties, by name.
#[derive(Clone, PartialEq, Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    named: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, optional, tag = "22")]
    r#type: Option<Type>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    extensions: Vec<Extension>,
}

#[derive(Clone, PartialEq, Message)]
struct Type {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Extension {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

pub(super) fn document(definitions: &[&Definition<'_>]) -> Vec<u8> {
    let named = definitions.iter().map(|definition| {
        let extensions = vec![group_version_kind(definition)];
        let value = Schema { extensions, ..convert(definition.schema) };
        NamedSchema { name: definition.name.clone(), value: Some(value) }
    });
    let document = Document {
        swagger: "2.0".to_owned(),
        info: Some(Info { title: "headcount".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }),
        paths: Some(Paths {}),
        definitions: Some(Schemas { named: named.collect() }),
    };
    document.encode_to_vec()
}

fn group_version_kind(definition: &Definition<'_>) -> Extension {
    let schema::Kind { group, name, version, .. } = definition.kind;
    let yaml = format!("- group: {group:?}\n  kind: {name}\n  version: {version}\n");
    Extension { name: "x-kubernetes-group-version-kind".to_owned(), value: Some(Any { yaml }) }
}

fn convert(schema: &schema::Schema) -> Schema {
    let (r#type, format) = schema.shape.type_and_format();
    let named = schema.shape.fields().iter();
    let named: Vec<_> = named
        .map(|field| NamedSchema { name: field.name.to_owned(), value: Some(convert(&field.schema)) })
        .collect();
    Schema {
        format: format.to_owned(),
        description: schema.description.to_owned(),
        required: schema.shape.required().into_iter().map(str::to_owned).collect(),
        r#type: Some(Type { value: vec![r#type.to_owned()] }),
        properties: (!named.is_empty()).then_some(Schemas { named }),
        extensions: Vec::new(),
    }
}
