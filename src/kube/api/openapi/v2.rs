//! `OpenAPI` 2 in JSON, which Kubernetes' aggregator reads.

use serde_json::{Map, Value, json};

use super::schema::{Definition, Schema};

pub(super) fn document(definitions: &[&Definition<'_>]) -> Value {
    let schemas = definitions.iter().map(|definition| (definition.name.clone(), of_resource(definition)));
    let paths = definitions.iter().copied().flat_map(paths);
    json!({
        "swagger": "2.0",
        "info": {"title": "headcount", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths.collect::<Map<_, _>>(),
        "definitions": schemas.collect::<Map<_, _>>(),
    })
}

/// A definition's schema, which says whose it is.
pub(super) fn of_resource(definition: &Definition<'_>) -> Value {
    let mut schema = of(definition.schema);
    schema["x-kubernetes-group-version-kind"] = json!([type_of(definition)]);
    schema
}

/// A definition's paths, each with what can be done there.
pub(super) fn paths(definition: &Definition<'_>) -> impl Iterator<Item = (String, Value)> {
    definition.paths().into_iter().map(|(path, action)| {
        let get = json!({
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": type_of(definition),
            "responses": {"200": {"description": "OK"}},
        });
        (path, json!({"get": get}))
    })
}

fn type_of(definition: &Definition<'_>) -> Value {
    json!({"group": definition.kind.group, "version": definition.version, "kind": definition.kind.name})
}

fn of(schema: &Schema) -> Value {
    let (r#type, format) = schema.shape.type_and_format();
    let mut value = json!({"description": schema.description, "type": r#type});
    if !format.is_empty() {
        value["format"] = format.into();
    }
    let fields = schema.shape.fields();
    if !fields.is_empty() {
        let properties = fields.iter().map(|field| (field.name.to_owned(), of(&field.schema)));
        value["properties"] = properties.collect::<Map<_, _>>().into();
    }
    let required = schema.shape.required();
    if !required.is_empty() {
        value["required"] = required.into();
    }
    value
}
