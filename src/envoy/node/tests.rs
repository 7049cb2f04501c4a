//! Valid and invalid nodes.

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::{Value as Json, json};

use super::*;
use crate::{
    model::DataplaneKey,
    proto::envoy::{
        config::core::v3::{BuildVersion, Locality},
        service::health::v3::{EndpointHealthResponse, HealthCheckRequest},
        r#type::v3::SemanticVersion,
    },
};

fn node(id: &str, metadata: Json) -> Node {
    let Kind::StructValue(metadata) = kind(metadata) else { panic!("metadata is a map") };
    Node { id: id.into(), metadata: Some(metadata), ..Node::default() }
}

fn kind(json: Json) -> Kind {
    let value = |json| Value { kind: Some(kind(json)) };
    match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(it) => Kind::BoolValue(it),
        Json::Number(it) => Kind::NumberValue(it.as_f64().unwrap()),
        Json::String(it) => Kind::StringValue(it),
        Json::Array(it) => Kind::ListValue(ListValue { values: it.into_iter().map(value).collect() }),
        Json::Object(it) => Kind::StructValue(Struct {
            fields: it.into_iter().map(|(key, json)| (key, value(json))).collect(),
        }),
    }
}

fn parse(node: &Node) -> Result<Proxy, Invalid> {
    Proxy::parse(node, DataplaneLimits::default())
}

#[track_caller]
fn proxy(id: &str, metadata: Json) -> Proxy {
    parse(&node(id, metadata)).unwrap()
}

#[track_caller]
fn rejection(id: &str, metadata: Json) -> String {
    parse(&node(id, metadata)).unwrap_err().to_string()
}

/// Metadata with one inbound.
fn with_inbound(inbound: &Json) -> Json {
    json!({"kuma.io/mesh": "default", "inbounds": [inbound]})
}

#[track_caller]
fn key(id: &str, metadata: Json) -> String {
    let DataplaneKey { mesh, namespace, name } = proxy(id, metadata).dataplane.key;
    format!("{mesh} {namespace} {name}")
}

#[test]
fn a_node_is_converted_to_a_dataplane_and_its_checks() {
    let node = Node {
        locality: Some(Locality { zone: "eu-1".into(), ..Locality::default() }),
        user_agent_name: "envoy".into(),
        user_agent_build_version: Some(BuildVersion {
            version: Some(SemanticVersion { major_number: 1, minor_number: 40, patch: 0 }),
        }),
        ..node(
            "web-1.shop",
            json!({
                "kuma.io/mesh": "default",
                "kuma.io/workload": "web",
                "labels": {"app": "web"},
                "other": {"key": 1},
                "inbounds": [
                    {"port": 8080, "servicePort": 9080, "protocol": "http", "path": "/healthz", "tags": {"v": "a/b"}},
                    {"port": 8081, "address": "::1", "name": "side"},
                ],
                "admin": {"port": 9901},
            }),
        )
    };
    let Proxy { dataplane, checks } = parse(&node).unwrap();
    assert_eq!(dataplane.key.to_string(), "default/shop/web-1");
    assert_eq!(dataplane.workload.unwrap().as_str(), "web");
    assert_eq!(dataplane.environment, Environment::Universal);
    assert_eq!(dataplane.zone.unwrap().as_str(), "eu-1");
    assert_eq!(&*dataplane.agent_version, "envoy/1.40.0");
    let labels: Vec<_> = dataplane.labels.iter().collect();
    assert_eq!(labels, [("app", "web"), ("kuma.io/mesh", "default"), ("kuma.io/workload", "web")]);
    let inbounds: Vec<_> = dataplane.inbounds.iter().map(|it| (it.port, &*it.name)).collect();
    assert_eq!(inbounds, [(8080, ""), (8081, "side")]);
    assert_eq!(dataplane.inbounds[0].tags.get("v"), Some("a/b"));

    let checks: Vec<_> = checks.iter().map(|check| format!("{} {}", check.target, check.endpoint)).collect();
    assert_eq!(
        checks,
        [
            "headcount:inbound:8080 127.0.0.1:9080",
            "headcount:inbound:8081 [::1]:8081",
            "headcount:ready 127.0.0.1:9901",
        ]
    );
}

#[test]
fn a_node_id_is_a_name_optionally_with_a_namespace() {
    let mesh = || json!({"kuma.io/mesh": "m"});
    assert_eq!(key("web-1", mesh()), "m default web-1");
    assert_eq!(key("web-1.shop", mesh()), "m shop web-1");
    assert_eq!(key("web.1.shop", mesh()), "m shop web.1");
    let shop = || json!({"kuma.io/mesh": "m", "k8s.kuma.io/namespace": "shop"});
    assert_eq!(key("web-1.shop", shop()), "m shop web-1");
    assert_eq!(key("web-1", shop()), "m shop web-1");
    assert_eq!(key("web.1", shop()), "m shop web.1");
    assert_eq!(key("web-workshop", shop()), "m shop web-workshop");
}

#[test]
fn without_a_mesh_label_the_node_id_starts_with_the_mesh() {
    assert_eq!(key("m.web-1", json!({})), "m default web-1");
    assert_eq!(key("m.web-1.shop", json!({})), "m shop web-1");
    assert_eq!(key("m.web.1", json!({"k8s.kuma.io/namespace": "shop"})), "m shop web.1");
    assert_eq!(key("m.web-1", json!({"labels": {"kuma.io/mesh": "other"}})), "other web-1 m");
    let expected = "node.metadata.kuma.io/mesh: is required and must be a valid DNS-1123 label: or write node.id as mesh.name";
    assert_eq!(rejection("web-1", json!({})), expected);
    assert_eq!(parse(&Node::default()).unwrap_err().to_string(), expected);
}

#[test]
fn an_invalid_name_is_reported_with_its_path_in_the_bootstrap() {
    let mesh = || json!({"kuma.io/mesh": "m"});
    for (id, metadata, start) in [
        ("", mesh(), "node.id: is required and must be"),
        ("web.", mesh(), "node.id: \"web.\": must be"),
        (".", mesh(), "node.id: \".\": must be"),
        (".shop", mesh(), "node.id: \".shop\": must be"),
        (
            ".shop",
            json!({"kuma.io/mesh": "m", "k8s.kuma.io/namespace": "shop"}),
            "node.id: \".shop\": must be",
        ),
        ("web.Shop", mesh(), "node.id: \"Shop\": must be"),
        ("M.web", json!({}), "node.id: \"M\": must be"),
        (".web", json!({}), "node.metadata.kuma.io/mesh: is required"),
        ("web", json!({"kuma.io/mesh": "M"}), "node.metadata.kuma.io/mesh: \"M\": must be"),
        (
            "web",
            json!({"labels": {"kuma.io/mesh": "M"}}),
            "node.metadata.labels.kuma.io/mesh: \"M\": must be",
        ),
        ("web", json!({"kuma.io/mesh": ""}), "node.metadata.kuma.io/mesh: is required"),
        ("m.web", json!({"k8s.kuma.io/namespace": "a.b"}), "node.metadata.k8s.kuma.io/namespace: \"a.b\""),
        ("m.web", json!({"kuma.io/zone": "_"}), "node.metadata.kuma.io/zone: \"_\": must"),
        ("m.web", json!({"kuma.io/env": "vm"}), "node.metadata.kuma.io/env: \"vm\": must be kubernetes or"),
        ("m.web", json!({"kuma.io/workload": "A"}), "node.metadata.kuma.io/workload: \"A\": must be"),
    ] {
        let error = rejection(id, metadata);
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn a_namespace_label_implies_kubernetes_unless_the_environment_is_given() {
    let environment = |metadata| proxy("m.web", metadata).dataplane.environment;
    assert_eq!(environment(json!({})), Environment::Universal);
    assert_eq!(environment(json!({"k8s.kuma.io/namespace": "shop"})), Environment::Kubernetes);
    assert_eq!(environment(json!({"kuma.io/env": "kubernetes"})), Environment::Kubernetes);
    let both = json!({"k8s.kuma.io/namespace": "shop", "kuma.io/env": "universal"});
    assert_eq!(environment(both), Environment::Universal);
    // On Kubernetes a workload may be named after a service account.
    let metadata = json!({"k8s.kuma.io/namespace": "shop", "kuma.io/workload": "1.a"});
    assert_eq!(proxy("m.web", metadata).dataplane.workload.unwrap().as_str(), "1.a");
}

#[test]
fn the_zone_of_the_locality_counts_without_a_zone_label() {
    let zone = |zone: &str, metadata| {
        let locality = Some(Locality { zone: zone.into(), ..Locality::default() });
        let node = Node { locality, ..node("m.web", metadata) };
        parse(&node).unwrap().dataplane.zone.map(|zone| zone.to_string())
    };
    assert_eq!(zone("eu-1", json!({})).as_deref(), Some("eu-1"));
    assert_eq!(zone("eu-1", json!({"kuma.io/zone": "east"})).as_deref(), Some("east"));
    assert_eq!(zone("eu-1", json!({"kuma.io/zone": ""})).as_deref(), Some("eu-1"));
    assert_eq!(zone("EU 1", json!({})), None);
    assert_eq!(zone("", json!({})), None);
}

#[test]
fn labels_are_the_prefixed_keys_and_the_map_labels() {
    let metadata = json!({
        "a/b": "1", "c": "not one", "d": {"e/f": "nor this"}, "g": ["nor these"],
        "labels": {"h": "2", "a/b": "1"},
    });
    let labels = proxy("m.web", metadata).dataplane.labels;
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a/b", "1"), ("h", "2")]);
}

#[test]
fn an_invalid_label_is_rejected() {
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("l{n}"), json!(""))).collect();
    for (metadata, expected) in [
        (json!({"a/b": 1}), "node.metadata.a/b: must be a string (quote numbers and booleans)"),
        (json!({"a/b": null}), "node.metadata.a/b: must be a string (quote numbers and booleans)"),
        (
            json!({"labels": {"a": true}}),
            "node.metadata.labels.a: must be a string (quote numbers and booleans)",
        ),
        (json!({"labels": "a"}), "node.metadata.labels: must be a map"),
        (
            json!({"a/b": "1", "labels": {"a/b": "2"}}),
            "node.metadata.labels.a/b: disagrees with the entry of this name in node.metadata: give both the same value",
        ),
        (json!({"labels": many}), "node.metadata.labels: 65 entries: at most 64 are allowed, leave some out"),
        (
            json!({"a/\u{1b}": "1"}),
            "node.metadata[\"a/\\u{1b}\"]: the name part of the key must consist of letters, digits, '-', '_' or '.' and start and end with a letter or digit",
        ),
        (
            json!({"a/b": " "}),
            "node.metadata.a/b: value \" \" must consist of letters, digits, '-', '_' or '.' and start and end with a letter or digit",
        ),
    ] {
        assert_eq!(rejection("m.web", metadata), expected);
    }
}

#[test]
fn a_workload_tag_must_agree_with_the_workload_label() {
    let inbound = json!({"port": 80, "tags": {"kuma.io/workload": "api"}});
    let metadata = json!({"kuma.io/workload": "web", "inbounds": [inbound]});
    assert_eq!(
        rejection("m.web", metadata),
        "node.metadata.inbounds[0].tags[\"kuma.io/workload\"]: \"api\" disagrees with node.metadata.kuma.io/workload (\"web\"): give all the same value"
    );
    assert_eq!(proxy("m.web", with_inbound(&inbound)).dataplane.workload.unwrap().as_str(), "api");
}

#[test]
fn an_inbound_determines_the_endpoint_and_the_checker_of_its_check() {
    let check = |inbound| proxy("web", with_inbound(&inbound)).checks.iter().next().unwrap().clone();
    let endpoint = |inbound| check(inbound).endpoint.to_string();
    assert_eq!(endpoint(json!({"port": 80})), "127.0.0.1:80");
    assert_eq!(endpoint(json!({"port": 80, "servicePort": 8080})), "127.0.0.1:8080");
    assert_eq!(endpoint(json!({"port": 80, "servicePort": null, "address": null})), "127.0.0.1:80");
    assert_eq!(endpoint(json!({"port": 80, "address": "10.0.0.1"})), "10.0.0.1:80");
    assert_eq!(endpoint(json!({"port": 80, "address": "::ffff:10.0.0.1"})), "[::ffff:10.0.0.1]:80");

    let checker = |inbound| check(inbound).checker;
    let http = |path| Checker::Http(HttpPath::parse("path", path).unwrap());
    assert_eq!(checker(json!({"port": 80})), Checker::Tcp);
    assert_eq!(checker(json!({"port": 80, "protocol": "tcp"})), Checker::Tcp);
    assert_eq!(checker(json!({"port": 80, "protocol": "http"})), http("/"));
    assert_eq!(checker(json!({"port": 80, "protocol": "http", "path": "/a?b=%20"})), http("/a?b=%20"));
}

#[test]
fn an_invalid_inbound_or_admin_interface_is_rejected() {
    let number = "must be a whole number between 1 and 65535";
    let address =
        "must be a literal IPv4 or IPv6 address, such as 127.0.0.1 or ::1; Envoy does not resolve names here";
    for (inbound, expected) in [
        (json!({}), "port: is required and must be between 1 and 65535".to_owned()),
        (json!({"port": null}), "port: is required and must be between 1 and 65535".to_owned()),
        (json!({"port": 0}), format!("port: 0: {number}")),
        (json!({"port": -1}), format!("port: -1: {number}")),
        (json!({"port": 80.5}), format!("port: 80.5: {number}")),
        (json!({"port": 65536}), format!("port: 65536: {number}")),
        (json!({"port": "80"}), format!("port: {number}")),
        (json!({"port": 80, "servicePort": 1e300}), format!("servicePort: 1{}: {number}", "0".repeat(300))),
        (json!({"port": 80, "servicePrt": 81}), "servicePrt: is not a known key: use port, servicePort, address, name, protocol, path, state, tags".into()),
        (json!({"port": 80, "state": "Up"}), "state: \"Up\": must be Ready, NotReady or Ignored".into()),
        (json!({"port": 80, "name": "{{ n }}"}), "name: the placeholder \"{{ n }}\" was not filled in: write the value in its place".into()),
        (json!({"port": 80, "address": "localhost"}), format!("address: \"localhost\": {address}")),
        (json!({"port": 80, "address": "127.0.0.1/32"}), format!("address: \"127.0.0.1/32\": {address}")),
        (json!({"port": 80, "address": "127.1"}), format!("address: \"127.1\": {address}")),
        (json!({"port": 80, "address": "[::1]"}), format!("address: \"[::1]\": {address}")),
        (json!({"port": 80, "address": "fe80::1%eth0"}), format!("address: \"fe80::1%eth0\": {address}")),
        (json!({"port": 80, "address": "127.0.0.1:80"}), format!("address: \"127.0.0.1:80\": {address}")),
        (json!({"port": 80, "protocol": "grpc"}), "protocol: \"grpc\": must be tcp or http".into()),
        (json!({"port": 80, "path": "/"}), "path: a path is for HTTP: add protocol: http, or leave the path out".into()),
        (json!({"port": 80, "name": 1}), "name: must be a string".into()),
        (json!({"port": 80, "name": "\n"}), "name: may not contain control characters".into()),
        (json!({"port": 80, "tags": []}), "tags: must be a map".into()),
        (json!({"port": 80, "tags": {"v": 1}}), "tags.v: must be a string (quote numbers and booleans)".into()),
        (json!({"port": 80, "tags": {"v": " "}}), "tags[\"v\"]: a tag must consist of letters, digits, '.', '-', '_', '/' or ':', and its key may not be empty".into()),
    ] {
        assert_eq!(rejection("web", with_inbound(&inbound)), format!("node.metadata.inbounds[0].{expected}"));
    }
    for (metadata, expected) in [
        (json!({"inbounds": {}}), "inbounds: must be a list"),
        (json!({"inbounds": [80]}), "inbounds[0]: must be a map, such as {port: 8080}"),
        (
            json!({"inbounds": [{"port": 80}, {"port": 80}]}),
            "inbounds[1].port: 80 is declared by inbounds[0] already: declare each port once",
        ),
        (json!({"admin": 9901}), "admin: must be a map"),
        (json!({"admin": {}}), "admin.port: is required and must be between 1 and 65535"),
        (
            json!({"admin": {"port": 9901, "adress": "::1"}}),
            "admin.adress: is not a known key: use address, port",
        ),
        (
            json!({"admin": {"port": 9901, "address": "envoy"}}),
            &format!("admin.address: \"envoy\": {address}"),
        ),
    ] {
        assert_eq!(rejection("m.web", metadata), format!("node.metadata.{expected}"));
    }
}

#[test]
fn a_path_starts_with_a_slash_and_is_visible_ascii() {
    let longest = format!("/{}", "a".repeat(1023));
    for good in ["/", "/a b".replace(' ', "%20").as_str(), "/?q=\"#{}\\", &longest] {
        assert_eq!(HttpPath::parse("path", good).unwrap().as_str(), good);
    }
    for bad in ["", "a", "http://a/", "/a b", "/\r\nHost: x", "/\0", "/ä", "/\u{7f}", &format!("{longest}a")]
    {
        let error = HttpPath::parse("path", bad).unwrap_err();
        assert!(error.problem.contains("must be a path that begins with '/'"), "{error}");
    }
}

#[test]
fn an_invalid_version_is_omitted() {
    let version = |name: &str, major: Option<u32>| {
        let version =
            major.map(|major_number| SemanticVersion { major_number, ..SemanticVersion::default() });
        let node = Node {
            user_agent_name: name.into(),
            user_agent_build_version: Some(BuildVersion { version }),
            ..node("m.web", json!({}))
        };
        parse(&node).unwrap().dataplane.agent_version.to_string()
    };
    assert_eq!(version("envoy", Some(2)), "envoy/2.0.0");
    assert_eq!(version("", Some(2)), "envoy/2.0.0");
    assert_eq!(version("mine", None), "mine");
    assert_eq!(version("", None), "");
    assert_eq!(version("a\u{1b}", Some(2)), "");
    assert_eq!(version(&"a".repeat(60), Some(2)), "");
}

#[test]
fn an_error_is_short_and_has_no_control_characters() {
    let long = "\u{1b}\u{200f}é".repeat(20_000);
    for (id, metadata) in [
        (long.as_str(), json!({"kuma.io/mesh": "m"})),
        (&format!("{long}.a"), json!({})),
        ("m.web", json!({"kuma.io/zone": long})),
        ("m.web", json!({"kuma.io/env": long})),
        ("m.web", json!({"a/b": long})),
        ("m.web", json!({format!("a/{long}"): "a"})),
        ("m.web", json!({format!("a/{long}"): 1})),
        ("m.web", json!({"a/b": long, "labels": {"a/b": "a"}})),
        ("m.web", json!({format!("a/{long}"): "a", "labels": {format!("a/{long}"): "b"}})),
        ("m.web", json!({"labels": {long.as_str(): "a"}})),
        ("m.web", with_inbound(&json!({"port": 80, "address": long}))),
        ("m.web", with_inbound(&json!({"port": 80, "protocol": long}))),
        ("m.web", with_inbound(&json!({"port": 80, "protocol": "http", "path": long}))),
        ("m.web", with_inbound(&json!({"port": 80, long.as_str(): 1}))),
        ("m.web", with_inbound(&json!({"port": 80, "tags": {long.as_str(): "1"}}))),
        ("m.web", with_inbound(&json!({"port": 80, "tags": {long.as_str(): 1}}))),
    ] {
        let error = rejection(id, metadata);
        assert!(error.len() <= 4_096, "{} bytes: {error:.300}", error.len());
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

fn encoded(request_type: RequestType) -> Vec<u8> {
    HealthCheckRequestOrEndpointHealthResponse { request_type: Some(request_type) }.encode_to_vec()
}

#[test]
fn the_first_message_must_have_a_node() {
    let node = node("m.web", json!({"a": [null, {"b": 1}]}));
    let request = HealthCheckRequest { node: Some(node.clone()) };
    assert_eq!(read(&encoded(RequestType::HealthCheckRequest(request))), Ok(node));
    for (first, expected) in [
        (
            encoded(RequestType::EndpointHealthResponse(EndpointHealthResponse::default())),
            "health_check_request: is required",
        ),
        (Vec::new(), "health_check_request: is required"),
        (
            encoded(RequestType::HealthCheckRequest(HealthCheckRequest::default())),
            "health_check_request.node: is required",
        ),
        (b"\xff".to_vec(), "message: failed to decode Protobuf message"),
    ] {
        let error = read(&first).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
