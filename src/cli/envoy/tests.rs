//! The command's output, and how the server parses it.

use std::{collections::BTreeMap, fs};

use proptest::prelude::*;
use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::Value as Json;

use crate::{
    agent::DataplaneFile,
    cli::{
        Outcome,
        tests::{Ended, run},
    },
    envoy::{checks::Checks, node::Proxy},
    model::{Dataplane, DataplaneLimits, ENVIRONMENT_LABEL, MESH_LABEL},
    net::tls::pki,
    proto::envoy::config::core::v3::Node,
};

const DEMO: &str = include_str!("../../../examples/dataplanes/demo-workload.yaml");

/// A file with one inbound that has these additional lines.
fn with_inbound(lines: &str) -> String {
    let lines = lines.replace('\n', "\n      ");
    format!(
        "type: Dataplane\nmesh: default\nname: web-1\nnetworking:\n  address: 10.0.0.1\n  inbound:\n    - port: 80\n      {lines}\n"
    )
}

async fn bootstrap(file: &str, flags: &str) -> Ended {
    let path = tempfile::NamedTempFile::new().unwrap();
    fs::write(path.path(), file).unwrap();
    run(&format!("envoy bootstrap --dataplane-file {} {flags}", path.path().display())).await
}

async fn rejection(file: &str, flags: &str) -> String {
    let ended = bootstrap(file, flags).await;
    assert_eq!(ended.out, "");
    ended.result.unwrap_err().to_string()
}

/// The node of a bootstrap as Envoy sends it, with all numbers as doubles.
fn node(bootstrap: &str) -> Node {
    let bootstrap: Json = serde_saphyr::from_str(bootstrap).unwrap();
    let node = &bootstrap["node"];
    let Some(Kind::StructValue(metadata)) = value(&node["metadata"]).kind else { panic!("{node}") };
    Node { id: node["id"].as_str().unwrap().to_owned(), metadata: Some(metadata), ..Node::default() }
}

fn value(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(flag) => Kind::BoolValue(*flag),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(value).collect() }),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(key, field)| (key.clone(), value(field))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}

/// The dataplane and the checks that the server derives from a bootstrap.
fn parse(bootstrap: &str) -> (Dataplane, Checks) {
    let Proxy { dataplane, checks } = Proxy::parse(&node(bootstrap), DataplaneLimits::default()).unwrap();
    (dataplane, checks)
}

/// The dataplane that the server must derive: the file's, with labels for mesh and environment, and without
/// address and version, which a node does not state.
fn expected(file: &str) -> Dataplane {
    let mut file = DataplaneFile::parse(file).unwrap();
    file.spec.labels.insert(MESH_LABEL.into(), file.spec.mesh.clone());
    file.spec.labels.insert(ENVIRONMENT_LABEL.into(), "universal".into());
    file.spec.address.clear();
    file.spec.agent_version.clear();
    file.dataplane().unwrap()
}

fn targets(checks: &Checks) -> Vec<String> {
    checks.iter().map(|check| format!("{} {} {:?}", check.target, check.endpoint, check.checker)).collect()
}

#[tokio::test]
async fn the_bootstrap_of_the_example_is_the_example() {
    let ended = bootstrap(DEMO, "").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert_eq!(ended.out, include_str!("../../../examples/envoy/demo-workload.yaml"));
    assert_eq!(ended.err, "");
}

#[tokio::test]
async fn the_server_derives_the_dataplane_of_the_file() {
    let file = "\
type: Dataplane
mesh: mesh-1
name: web.1
labels: {app: shop, kuma.io/zone: east, k8s.kuma.io/namespace: shop, kuma.io/workload: web, n/y: 'yes', n/n: '1'}
networking:
  address: 10.1.2.3
  inbound:
    - {port: 80, servicePort: 8080, name: http, tags: {kuma.io/protocol: http}, serviceProbe: {http: {path: '/a?b=c'}}}
    - {port: 81, serviceAddress: '::1', serviceProbe: {tcp: {}}}
    - {port: 82}
";
    let ended = bootstrap(file, "--admin-addr 0.0.0.0:9902").await;
    let (dataplane, checks) = parse(&ended.out);
    assert_eq!(dataplane, expected(file));
    assert_eq!(dataplane.key.to_string(), "mesh-1/shop/web.1");
    assert_eq!(
        targets(&checks),
        [
            r#"headcount:inbound:80 10.1.2.3:8080 Http(HttpPath("/a?b=c"))"#,
            "headcount:inbound:81 [::1]:81 Tcp",
            "headcount:inbound:82 10.1.2.3:82 Tcp",
            r#"headcount:ready 127.0.0.1:9902 Http(HttpPath("/ready"))"#,
        ]
    );
    assert_eq!(
        ended.err,
        "networking.inbound[2] has no serviceProbe: Envoy checks it by TCP, at 10.1.2.3:82\n"
    );
}

#[tokio::test]
async fn a_name_with_dots_is_not_split_without_a_namespace() {
    let file = "mesh: m\nname: a.b\nnetworking: {gateway: {}}\nlabels: {k8s.kuma.io/namespace: '', kuma.io/zone: ''}";
    let (dataplane, checks) = parse(&bootstrap(file, "").await.out);
    assert_eq!(dataplane.key.to_string(), "m/default/a.b");
    assert_eq!(targets(&checks).len(), 1, "the readiness check of a gateway");
}

#[tokio::test]
async fn without_a_workload_the_node_cluster_is_the_name() {
    let ended = bootstrap("mesh: m\nname: a\nnetworking: {gateway: {}}", "").await;
    assert!(ended.out.contains("\n  cluster: a\n"), "{}", ended.out);
}

#[tokio::test]
async fn a_value_that_envoy_can_not_check_is_rejected_with_its_key() {
    let path = format!("serviceProbe: {{http: {{path: '/{}'}}}}", "a".repeat(1024));
    for (lines, expected) in [
        ("serviceAddress: localhost", "networking.inbound[0].serviceAddress: \"localhost\": must be an IP"),
        ("address: 127.0.0.1/32", "networking.inbound[0].address: \"127.0.0.1/32\": must be an IP"),
        ("serviceAddress: '[::1]'", "networking.inbound[0].serviceAddress: \"[::1]\": must be an IP"),
        ("serviceAddress: fe80::1%eth0", "networking.inbound[0].serviceAddress: \"fe80::1%eth0\": must be"),
        ("servicePort: 65536", "networking.inbound[0].servicePort: 65536: must be a whole"),
        ("serviceProbe: {http: {path: /ä}}", "networking.inbound[0].serviceProbe.http.path: \"/ä\": must be"),
        (&path, "networking.inbound[0].serviceProbe.http.path: \"/aaaa"),
        ("tags: {'kuma.io/workload': Web}", "networking.inbound[0].tags[\"kuma.io/workload\"]: \"Web\""),
    ] {
        let rejection = rejection(&with_inbound(lines), "").await;
        assert!(rejection.contains(expected), "{lines}: {rejection}");
    }
    let named = with_inbound("name: a").replace("10.0.0.1", "web.local");
    let rejection = rejection(&named, "").await;
    assert!(rejection.contains("networking.address: \"web.local\": must be an IP address"), "{rejection}");
    assert!(rejection.contains("set serviceAddress to the address"), "{rejection}");
}

#[tokio::test]
async fn labels_that_contradict_the_file_are_rejected() {
    let of = |labels: &str| format!("mesh: m\nname: a\nlabels: {{{labels}}}\nnetworking: {{gateway: {{}}}}");
    for (labels, expected) in [
        ("kuma.io/mesh: other", "labels[\"kuma.io/mesh\"]: \"other\": contradicts the mesh"),
        ("kuma.io/env: vm", "labels[\"kuma.io/env\"]: \"vm\": contradicts the environment"),
        ("kuma.io/workload: Web", "labels[\"kuma.io/workload\"]: \"Web\": must be a valid DNS-1035"),
    ] {
        let rejection = rejection(&of(labels), "").await;
        assert!(rejection.contains(expected), "{labels}: {rejection}");
    }
    let many: Vec<_> = (0..71).map(|n| format!("l{n}: v")).collect();
    let ended = bootstrap(&of(&many.join(", ")), "").await;
    assert!(ended.result.is_ok(), "the limit of labels is the server's");
}

#[tokio::test]
async fn the_admin_port_of_the_file_is_used() {
    let file = with_inbound("name: a").replace("  inbound:", "  admin: {port: 9902}\n  inbound:");
    let ready = |bootstrap: &str| targets(&parse(bootstrap).1).pop().unwrap();
    let ended = bootstrap(&file, "").await;
    assert_eq!(ready(&ended.out), r#"headcount:ready 127.0.0.1:9902 Http(HttpPath("/ready"))"#);
    assert!(ended.out.contains("port_value: 9902"), "{}", ended.out);
    let ended = bootstrap(&file, "--admin-addr 127.0.0.2:9903").await;
    assert_eq!(ready(&ended.out), r#"headcount:ready 127.0.0.2:9903 Http(HttpPath("/ready"))"#);
}

#[tokio::test]
async fn what_the_file_states_about_an_inbound_is_in_the_bootstrap_or_in_a_remark() {
    let file = with_inbound("state: NotReady\nserviceProb: {}") + "    - port: 80\n      address: 10.0.0.2\n";
    let ended = bootstrap(&file, "").await;
    let checks = parse(&ended.out).1;
    assert_eq!(targets(&checks)[0], "headcount:inbound:80 10.0.0.2:80 Tcp", "the one that may be ready");
    assert!(ended.err.contains("networking.inbound[0].serviceProb: is not a key"), "{}", ended.err);

    let file = with_inbound("state: Ignored");
    let checks = parse(&bootstrap(&file, "").await.out).1;
    assert!(!checks.iter().next().unwrap().may_be_ready);

    let file = with_inbound("name: a") + "    - port: 80\n      address: 10.0.0.2\n";
    let ended = bootstrap(&file, "").await;
    assert!(
        ended.err.contains("port 80 has several applications: Envoy checks only 10.0.0.1:80"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn all_problems_are_reported_at_once() {
    let rejection = rejection("kind: Dataplane", "--control-plane https://a --admin-addr 127.0.0.1:0").await;
    for problem in
        ["3 problems", "--ca-file: is missing", "--admin-addr: \"127.0.0.1:0\":", "metadata: is required"]
    {
        assert!(rejection.contains(problem), "{problem}\n---\n{rejection}");
    }
    let rejection = self::rejection(DEMO, "--control-plane 127.0.0.1:0").await;
    assert!(rejection.contains("--control-plane: \"http://127.0.0.1:0\": the port must be"), "{rejection}");
}

#[tokio::test]
async fn tls_and_the_token_are_in_the_bootstrap() {
    let (ca, directory) = (pki::Authority::new(), tempfile::tempdir().unwrap());
    let pair = ca.client("me");
    let path = |name: &str| directory.path().join(name).display().to_string();
    for (name, text) in [("ca", &*ca.pem), ("crt", &pair.cert), ("key", &pair.key), ("token", "secret\n")] {
        fs::write(path(name), text).unwrap();
    }
    let flags = format!("--ca-file {} --token-file {}", path("ca"), path("token"));
    let identity = format!("--client-cert-file {} --client-key-file {}", path("crt"), path("key"));
    let ended = bootstrap(DEMO, &format!("--control-plane https://a.example {flags} {identity}")).await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert!(
        !ended.out.contains("secret\n") && !ended.out.contains("BEGIN"),
        "paths, not content: {}",
        ended.out
    );
    let document: Json = serde_saphyr::from_str(&ended.out).unwrap();
    let resources = &document["static_resources"];
    let tls = &resources["clusters"][0]["transport_socket"]["typed_config"];
    assert_eq!(tls["sni"], "a.example");
    let context = &tls["common_tls_context"];
    assert_eq!(context["tls_certificates"][0]["private_key"]["filename"], path("key"));
    let validation = &context["validation_context"];
    assert_eq!(validation["trusted_ca"]["filename"], path("ca"));
    let names = serde_json::json!([{ "san_type": "DNS", "matcher": { "exact": "a.example" } }]);
    assert_eq!(
        validation["match_typed_subject_alt_names"], names,
        "without it any certificate of the CA is accepted"
    );
    assert_eq!(resources["secrets"][0]["generic_secret"]["secret"]["filename"], path("token"));

    let ended = bootstrap(DEMO, &format!("--control-plane https://[::1] {flags}")).await;
    let document: Json = serde_saphyr::from_str(&ended.out).unwrap();
    let tls = &document["static_resources"]["clusters"][0]["transport_socket"]["typed_config"];
    let names = &tls["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
    assert_eq!(
        (tls.get("sni"), &names[0]["matcher"]["exact"], &names[0]["san_type"]),
        (None, &"::1".into(), &"IP_ADDRESS".into())
    );

    let rejection =
        rejection(DEMO, &format!("--control-plane a.example --token-file {}", path("token"))).await;
    assert!(
        rejection.contains("--token-file: its token would be sent to http://a.example:7100"),
        "{rejection}"
    );
}

fn label() -> impl Strategy<Value = (String, String)> {
    ("([a-z]{1,4}/)?[A-Za-z0-9][-_.A-Za-z0-9]{0,6}", "[A-Za-z0-9~.+_-]{0,6}")
}

proptest! {
    /// The server accepts every bootstrap that the command prints, as the dataplane of the file.
    #[test]
    fn the_server_accepts_every_bootstrap(
        name in "[a-z0-9.-]{1,12}",
        labels in prop::collection::btree_map(label().prop_map(|label| label.0), label().prop_map(|label| label.1), 0..5),
        namespace in prop::option::of("[a-z]{0,3}"),
        inbound in "(name|address|serviceAddress|serviceProbe|servicePort): ([a-z0-9.:/]{0,12}|\\{http: \\{path: '/[ -&(-~]{0,9}'\\}\\})",
    ) {
        let mut labels: BTreeMap<_, _> = labels;
        labels.extend(namespace.map(|namespace| ("k8s.kuma.io/namespace".to_owned(), namespace)));
        let labels = serde_json::to_string(&labels).unwrap();
        let file = format!("labels: {labels}\n{}", with_inbound(&inbound)).replace("web-1", &format!("'{name}'"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime.block_on(bootstrap(&file, ""));
        if ended.result.is_ok() {
            prop_assert_eq!(parse(&ended.out).0, expected(&file));
        }
    }
}
