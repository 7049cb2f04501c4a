//! `MeshIdentities` as messages of the API.

use prost_types::{Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Number, Value, json};

use super::MeshIdentityDocument;
use crate::{
    convert::{Violations, label_map, timestamp},
    identity::{Condition, MeshIdentity, MeshIdentityRecord},
    model::Invalid,
    proto,
};

/// The deepest nesting of a spec; Kuma's has six levels, and an extension's configuration its own.
const MAX_DEPTH: usize = 32;

/// Validates a message. What the server sets is ignored.
///
/// # Errors
///
/// All violations.
pub fn mesh_identity_from_proto(message: &proto::MeshIdentity) -> Result<MeshIdentityDocument, Violations> {
    let spec = message.spec.as_ref().map_or_else(|| Ok(json!({})), |spec| object(spec, 0));
    let spec = spec.map_err(|violation| Violations(vec![violation]))?;
    MeshIdentityDocument::parse(&json!({
        "type": "MeshIdentity",
        "mesh": message.mesh,
        "namespace": message.namespace,
        "name": message.name,
        "labels": message.labels,
        "spec": spec,
    }))
}

/// Converts a stored `MeshIdentity`.
pub fn mesh_identity_to_proto(record: &MeshIdentityRecord) -> proto::MeshIdentity {
    proto::MeshIdentity {
        resource_version: record.revision.to_string(),
        uid: record.uid.to_string(),
        creation_time: Some(timestamp(record.creation_time)),
        generation: record.generation,
        conditions: record.identity.conditions().into_iter().map(condition).collect(),
        ..unversioned(&record.identity, &record.spec)
    }
}

/// The message for a document, without what the server sets.
pub fn mesh_identity_message(document: &MeshIdentityDocument) -> proto::MeshIdentity {
    unversioned(&document.identity, &document.spec)
}

fn unversioned(identity: &MeshIdentity, spec: &Value) -> proto::MeshIdentity {
    proto::MeshIdentity {
        namespace: identity.key.namespace.to_string(),
        name: identity.key.name.to_string(),
        mesh: identity.mesh.to_string(),
        labels: label_map(&identity.labels),
        spec: Some(structure(spec)),
        ..proto::MeshIdentity::default()
    }
}

/// The spec of a message as JSON; null if it is nested too deep.
pub fn mesh_identity_spec_value(message: &proto::MeshIdentity) -> Value {
    message.spec.as_ref().and_then(|spec| object(spec, 0).ok()).unwrap_or(Value::Null)
}

/// Converts a spec, which is an object.
fn structure(spec: &Value) -> Struct {
    match message(spec).kind {
        Some(Kind::StructValue(spec)) => spec,
        _ => Struct::default(),
    }
}

fn condition(condition: Condition) -> proto::Condition {
    let Condition { kind, holds, reason, message } = condition;
    let status = if holds { "True" } else { "False" };
    proto::Condition {
        r#type: kind.into(),
        status: status.into(),
        reason: reason.into(),
        message: message.into(),
    }
}

fn message(value: &Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.iter().map(message).collect() })
        }
        Value::Object(entries) => {
            let fields = entries.iter().map(|(key, value)| (key.clone(), message(value)));
            Kind::StructValue(Struct { fields: fields.collect() })
        }
    };
    ProtoValue { kind: Some(kind) }
}

fn object(message: &Struct, depth: usize) -> Result<Value, Invalid> {
    let entry = |(key, value): (&String, &ProtoValue)| Ok((key.clone(), json_value(value, depth + 1)?));
    message.fields.iter().map(entry).collect::<Result<Map<_, _>, _>>().map(Value::Object)
}

fn json_value(message: &ProtoValue, depth: usize) -> Result<Value, Invalid> {
    if depth > MAX_DEPTH {
        return Err(Invalid::new("spec", format!("is nested more than {MAX_DEPTH} levels deep")));
    }
    Ok(match &message.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(number)) => json_number(*number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => {
            let values = list.values.iter().map(|value| json_value(value, depth + 1));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Some(Kind::StructValue(message)) => object(message, depth)?,
    })
}

/// A whole number stays one, as in the document; JSON has no infinity.
#[expect(clippy::cast_possible_truncation, reason = "checked by the comparison")]
fn json_number(number: f64) -> Value {
    /// Whole numbers up to here are exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}
