//! `OpenAPI` 2 in JSON, for kube-apiserver's aggregation layer.

use serde_json::{Map, Value, json};

use super::schema::{Definition, Kind, Schema};

pub(super) fn document(definitions: &[&Definition<'_>]) -> Value {
    let schemas = definitions.iter().map(|definition| (definition.name.clone(), resource_schema(definition)));
    let paths = definitions.iter().copied().flat_map(paths);
    json!({
        "swagger": "2.0",
        "info": {"title": "headcount", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths.collect::<Map<_, _>>(),
        "definitions": schemas.collect::<Map<_, _>>(),
    })
}

/// Returns the schema of a definition, with its group, version and kind.
pub(super) fn resource_schema(definition: &Definition<'_>) -> Value {
    let mut schema = json_schema(definition.schema);
    schema["x-kubernetes-group-version-kind"] = json!([group_version_kind(definition)]);
    schema
}

/// Returns the paths of a definition, each with its operations.
pub(super) fn paths(definition: &Definition<'_>) -> impl Iterator<Item = (String, Value)> {
    definition.paths().into_iter().map(|(path, action)| {
        let get = json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(definition),
            "responses": {"200": {"description": "OK"}},
        });
        (path, json!({"get": get}))
    })
}

fn group_version_kind(definition: &Definition<'_>) -> Value {
    let Kind { group, version, name, .. } = definition.kind;
    json!({"group": group, "version": version, "kind": name})
}

fn json_schema(schema: &Schema) -> Value {
    let (r#type, format) = schema.shape.type_and_format();
    let mut value = json!({"description": schema.description, "type": r#type});
    if !format.is_empty() {
        value["format"] = format.into();
    }
    let fields = schema.shape.fields();
    if !fields.is_empty() {
        let properties = fields.iter().map(|field| (field.name.to_owned(), json_schema(&field.schema)));
        value["properties"] = properties.collect::<Map<_, _>>().into();
    }
    let required = schema.shape.required();
    if !required.is_empty() {
        value["required"] = required.into();
    }
    value
}
