//! Random Envoy nodes for the property of `envoy_node`. Most fields of a node are valid and a few are
//! not, so that about half of the nodes are accepted and the others cover all reasons of rejection.

use std::cell::Cell;

use headcount::{
    envoy::node::{Proxy, read},
    model::DataplaneLimits,
    proto::envoy::{
        config::core::v3::{Locality, Node},
        service::health::v3::{
            HealthCheckRequest, HealthCheckRequestOrEndpointHealthResponse,
            health_check_request_or_endpoint_health_response::RequestType,
        },
    },
};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::{BoxedStrategy, Just, Strategy, any},
    prop_oneof,
    sample::select,
    test_runner::{Config, TestRunner},
};
use prost::Message as _;
use prost_types::{ListValue, Struct, Value, value::Kind};

use crate::properties::envoy_node;

const CASES: u32 = 4_000;

#[test]
fn random_nodes_are_accepted_or_rejected_as_the_reference_does() {
    let accepted = Cell::new(0);
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&node(), |node| {
        let request = RequestType::HealthCheckRequest(HealthCheckRequest { node: Some(node) });
        let message = HealthCheckRequestOrEndpointHealthResponse { request_type: Some(request) };
        let message = message.encode_to_vec();
        envoy_node::check(&message);
        let node = read(&message).expect("a node");
        let is_accepted = Proxy::parse(&node, DataplaneLimits::default()).is_ok();
        accepted.set(accepted.get() + u32::from(is_accepted));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let accepted = accepted.get();
    assert!((CASES / 10..CASES * 9 / 10).contains(&accepted), "{accepted} of {CASES} were accepted");
}

fn node() -> impl Strategy<Value = Node> {
    let id =
        strings(&["web-1", "web-1.shop", "mesh.web-1", "mesh.web-1.shop"], &["", ".", "web.", ".web", "WEB"]);
    let zone = strings(&["", "eu-1"], &["EU 1"]);
    (id, metadata(), zone).prop_map(|(id, metadata, zone)| Node {
        id,
        metadata: Some(metadata),
        locality: Some(Locality { zone, ..Locality::default() }),
        ..Node::default()
    })
}

fn metadata() -> impl Strategy<Value = Struct> {
    let known = vec![
        entry("kuma.io/mesh", mostly(text(&["mesh"]))),
        entry("kuma.io/workload", mostly(text(&["web"]))),
        entry("kuma.io/zone", mostly(text(&["east", ""]))),
        entry("kuma.io/env", mostly(text(&["kubernetes", "universal"]))),
        entry("k8s.kuma.io/namespace", mostly(text(&["shop", ""]))),
        entry("labels", mostly(map(vec(label(), 0..3)))),
        entry("inbounds", mostly(list(vec(mostly(map(inbound())), 0..4)))),
        entry("admin", mostly(map(endpoint()))),
    ];
    let unknown = btree_map(key(), anything(), 0..2);
    (known, unknown)
        .prop_map(|(known, unknown)| Struct { fields: known.into_iter().flatten().chain(unknown).collect() })
}

fn inbound() -> impl Strategy<Value = Vec<(String, Value)>> {
    let tags = vec((strings(&["v", "kuma.io/workload"], &[]), text(&["web", "a/b:c"])), 0..2);
    let others = vec![
        entry("servicePort", mostly(port())),
        entry("name", mostly(text(&["http", ""]))),
        entry("tags", mostly(map(tags))),
        unknown_entry(),
    ];
    (endpoint(), probe(), others).prop_map(|(endpoint, probe, others)| {
        [endpoint, probe, others.into_iter().flatten().collect()].concat()
    })
}

/// A protocol and a path, which must agree.
fn probe() -> impl Strategy<Value = Vec<(String, Value)>> {
    let protocol = |usual: &[&'static str]| entry("protocol", mostly(text(usual)));
    let path = || entry("path", mostly(path()));
    let independent = vec![protocol(&["tcp", "http"]), path()];
    let agreeing = vec![protocol(&["http"]), path()];
    prop_oneof![1 => Just(Vec::new()), 1 => independent, 2 => agreeing]
        .prop_map(|entries| entries.into_iter().flatten().collect())
}

fn path() -> impl Strategy<Value = Value> {
    let unusual = "/[ -~\t\u{7f}é]{0,8}".prop_map(|path| Kind::StringValue(path).into_value());
    prop_oneof![3 => text(&["/", "/healthz?a=%20", "/\"#{}\\"]), 1 => unusual]
}

/// A port, which is required, and an optional address.
fn endpoint() -> impl Strategy<Value = Vec<(String, Value)>> {
    let address = text(&["127.0.0.1", "::1", "10.0.0.1", "::ffff:1.2.3.4", "fe80::1"]);
    let invalid = text(&[
        "localhost",
        "127.0.0.1/32",
        "[::1]",
        "::1%lo",
        "127.1",
        "127.0.0.01",
        "1::2::3",
        "1:2:3:4:5:6:7:8:9",
    ]);
    let address = prop_oneof![20 => address, 1 => invalid];
    (mostly(port()), entry("address", mostly(address))).prop_map(|(port, address)| {
        [Some(("port".to_owned(), port)), address].into_iter().flatten().collect()
    })
}

fn label() -> impl Strategy<Value = (String, Value)> {
    (strings(&["app", "a/b", "kuma.io/workload"], &["a b", "/"]), mostly(text(&["web", ""])))
}

fn port() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        20 => any::<u16>().prop_map(f64::from),
        1 => any::<f64>(),
        1 => select(vec![0.0, -0.0, 65_535.0, 65_536.0, 8080.5, f64::NAN, f64::INFINITY]),
    ];
    number.prop_map(|number| Kind::NumberValue(number).into_value())
}

/// Rarely an entry with an unknown key.
fn unknown_entry() -> BoxedStrategy<Option<(String, Value)>> {
    prop_oneof![20 => Just(None), 1 => (key(), anything()).prop_map(Some)].boxed()
}

fn key() -> impl Strategy<Value = String> {
    strings(&["other", "a/b", "inbound"], &[])
}

/// An entry that may be absent.
fn entry(
    key: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> BoxedStrategy<Option<(String, Value)>> {
    option::of(value.prop_map(move |value| (key.to_owned(), value))).boxed()
}

/// The value, and rarely any other one.
fn mostly(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop_oneof![40 => value, 1 => anything()].boxed()
}

fn text(usual: &[&'static str]) -> BoxedStrategy<Value> {
    strings(usual, &[]).prop_map(|text| Kind::StringValue(text).into_value()).boxed()
}

/// Mostly one of the usual strings, rarely one of the others, empty or random.
fn strings(usual: &[&'static str], others: &[&'static str]) -> BoxedStrategy<String> {
    let usual = select(usual.to_vec()).prop_map(str::to_owned);
    let others = select([others, &[""]].concat()).prop_map(str::to_owned);
    prop_oneof![60 => usual, 2 => others, 1 => ".{0,20}", 1 => "[a-z./-]{1,20}"].boxed()
}

fn map(entries: impl Strategy<Value = Vec<(String, Value)>>) -> impl Strategy<Value = Value> {
    entries
        .prop_map(|entries| Kind::StructValue(Struct { fields: entries.into_iter().collect() }).into_value())
}

fn list(values: impl Strategy<Value = Vec<Value>>) -> impl Strategy<Value = Value> {
    values.prop_map(|values| Kind::ListValue(ListValue { values }).into_value())
}

fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value { kind: None }),
        Just(Kind::NullValue(0).into_value()),
        any::<bool>().prop_map(|is| Kind::BoolValue(is).into_value()),
        any::<f64>().prop_map(|number| Kind::NumberValue(number).into_value()),
        ".{0,8}".prop_map(|text| Kind::StringValue(text).into_value()),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let entries = vec((".{0,8}", inner.clone()), 0..3);
        prop_oneof![map(entries), list(vec(inner, 0..3))]
    })
    .boxed()
}

trait IntoValue {
    fn into_value(self) -> Value;
}

impl IntoValue for Kind {
    fn into_value(self) -> Value {
        Value { kind: Some(self) }
    }
}
