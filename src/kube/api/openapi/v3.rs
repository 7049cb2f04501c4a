//! `OpenAPI` 3: one document for each group and version.

use serde_json::{Map, Value, json};

use super::{
    schema::Definition,
    v2::{paths, resource_schema},
};

/// Returns the index: the URL of each document, which contains its hash.
pub(super) fn index(documents: &[(&Definition<'_>, &str)]) -> Value {
    let paths = documents.iter().map(|(definition, hash)| {
        let path = definition.path.trim_start_matches('/');
        (path.to_owned(), json!({"serverRelativeURL": format!("/openapi/v3/{path}?hash={hash}")}))
    });
    json!({"paths": paths.collect::<Map<_, _>>()})
}

pub(super) fn document(definition: &Definition<'_>) -> Value {
    json!({
        "openapi": "3.0.0",
        "info": {"title": "headcount", "version": env!("CARGO_PKG_VERSION")},
        "paths": paths(definition).collect::<Map<_, _>>(),
        "components": {"schemas": {&definition.name: resource_schema(definition)}},
    })
}
