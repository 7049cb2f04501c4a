#![no_main]

mod mutate;

use headcount::proto::envoy::{
    config::core::v3::Node,
    service::health::v3::{
        HealthCheckRequest, HealthCheckRequestOrEndpointHealthResponse,
        health_check_request_or_endpoint_health_response::RequestType,
    },
};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use prost::Message as _;
use prost_types::{ListValue, Struct, Value, value::Kind};

use mutate::{changed, mutate};

fuzz_target!(|input: &[u8]| headcount_fuzz::envoy_node::check(input));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed, |input, seed| Some(message(change(node(input)?, seed))))
});

fn node(message: &[u8]) -> Option<Node> {
    match HealthCheckRequestOrEndpointHealthResponse::decode(message).ok()?.request_type? {
        RequestType::HealthCheckRequest(request) => request.node,
        RequestType::EndpointHealthResponse(_) => None,
    }
}

fn message(node: Node) -> Vec<u8> {
    let request = RequestType::HealthCheckRequest(HealthCheckRequest { node: Some(node) });
    HealthCheckRequestOrEndpointHealthResponse { request_type: Some(request) }.encode_to_vec()
}

fn change(mut node: Node, seed: usize) -> Node {
    match seed % 8 {
        0 => node.id = changed(&node.id),
        1 => {
            let zone = &mut node.locality.get_or_insert_default().zone;
            *zone = changed(zone);
        }
        2 => node.user_agent_name = changed(&node.user_agent_name),
        _ => change_struct(node.metadata.get_or_insert_default(), seed / 8),
    }
    node
}

/// Changes a key, or something within its value.
fn change_struct(fields: &mut Struct, seed: usize) {
    let at = seed % (fields.fields.len() + 1);
    let seed = seed / (fields.fields.len() + 1);
    let (key, mut value) =
        fields.fields.iter().nth(at).map(|(key, value)| (key.clone(), value.clone())).unwrap_or_default();
    if seed.is_multiple_of(4) {
        fields.fields.remove(&key);
        fields.fields.insert(changed(&key), value);
    } else {
        change_value(&mut value, seed / 4);
        fields.fields.insert(key, value);
    }
}

fn change_value(value: &mut Value, seed: usize) {
    match &mut value.kind {
        Some(Kind::StringValue(text)) if !seed.is_multiple_of(8) => *text = changed(text),
        Some(Kind::NumberValue(number)) if !seed.is_multiple_of(8) => {
            *number = other_number(*number, seed / 8);
        }
        Some(Kind::StructValue(fields)) if !seed.is_multiple_of(8) => change_struct(fields, seed / 8),
        Some(Kind::ListValue(list)) if !seed.is_multiple_of(8) => change_list(list, seed / 8),
        kind => *kind = other_kind(seed / 8),
    }
}

fn change_list(list: &mut ListValue, seed: usize) {
    let at = seed % (list.values.len() + 1);
    let seed = seed / (list.values.len() + 1);
    match list.values.get_mut(at) {
        Some(value) if !seed.is_multiple_of(4) => change_value(value, seed / 4),
        Some(value) => {
            let copy = value.clone();
            list.values.push(copy);
        }
        None => list.values.push(Value { kind: other_kind(seed) }),
    }
}

fn other_number(number: f64, seed: usize) -> f64 {
    let boundaries = [0.0, -0.0, 1.0, 65_535.0, 65_536.0, 0.5, f64::NAN, f64::INFINITY, f64::MAX, -1.0];
    boundaries.get(seed % 16).copied().unwrap_or(number + 1.0)
}

fn other_kind(seed: usize) -> Option<Kind> {
    match seed % 7 {
        0 => None,
        1 => Some(Kind::NullValue(0)),
        2 => Some(Kind::BoolValue(true)),
        3 => Some(Kind::NumberValue(8_080.0)),
        4 => Some(Kind::StringValue("web".to_owned())),
        5 => Some(Kind::ListValue(ListValue::default())),
        _ => Some(Kind::StructValue(Struct::default())),
    }
}
