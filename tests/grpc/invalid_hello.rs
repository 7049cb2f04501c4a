//! Invalid hellos: the server rejects each with the field, the rule and the remedy, and registers
//! nothing.

use std::collections::BTreeMap;

use headcount::proto::{Dataplane, Environment, Hello, session_request::Message as Request};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    proxy::{SessionStream, hello},
    support::{Server, assert_status, dataplane, inbound, still_serves},
};

const LABEL: &str = headcount::model::WORKLOAD_LABEL;

async fn rejected(server: &Server, request: Request) -> Status {
    let mut stream = SessionStream::open(server.channel()).await;
    stream.send(request);
    stream.end().await
}

/// Sends the hello of a valid dataplane after this change to it, and expects a rejection with all these
/// parts in its message.
async fn rejects(server: &Server, change: impl FnOnce(&mut Dataplane), parts: &[&str]) {
    let mut dataplane = dataplane("a", "web");
    change(&mut dataplane);
    let status = rejected(server, hello(dataplane)).await;
    assert_status(&status, Code::InvalidArgument, parts);
    let details = status.get_details_bad_request().expect("BadRequest details");
    let field = &details.field_violations[0].field;
    assert!(status.message().starts_with(&format!("{field}: ")), "{status:?}");
    still_serves(server).await;
}

#[tokio::test]
async fn mesh_name_namespace_and_zone_must_be_names() {
    let server = &Server::start().await;
    let [label, subdomain] = ["DNS-1123 label (at most 63", "DNS-1123 subdomain (at most 253"];
    let required = "is required";
    let mesh = "hello.dataplane.mesh: ";
    rejects(server, |d| d.mesh.clear(), &[mesh, required, label]).await;
    for bad in ["My Mesh", "-mesh", "mesh.east", &"m".repeat(64)] {
        rejects(server, |d| d.mesh = bad.into(), &[mesh, bad, label]).await;
    }
    let name = "hello.dataplane.name: ";
    rejects(server, |d| d.name.clear(), &[name, required, subdomain]).await;
    for bad in ["Web_1", "web..1", &"w".repeat(254)] {
        rejects(server, |d| d.name = bad.into(), &[name, &bad[..5], subdomain]).await;
    }
    let namespace = "hello.dataplane.namespace: ";
    rejects(server, |d| d.namespace = "kuma/demo".into(), &[namespace, "kuma/demo", label]).await;
    let zone = "hello.dataplane.zone: ";
    rejects(server, |d| d.zone = "East".into(), &[zone, "East", label]).await;
}

#[tokio::test]
async fn the_workload_name_must_be_a_dns_1035_label_in_labels_and_tags() {
    let server = &Server::start().await;
    let rule = "DNS-1035 label (at most 63";
    for bad in ["MyWorkload", "1abc", &"a".repeat(64), "web-", "web.v1"] {
        let field = r#"hello.dataplane.labels["kuma.io/workload"]: "#;
        let label = |d: &mut Dataplane| {
            d.labels.insert(LABEL.into(), bad.into());
        };
        rejects(server, label, &[field, bad, rule]).await;
        let field = r#"hello.dataplane.inbounds[0].tags["kuma.io/workload"]: "#;
        let tag = |d: &mut Dataplane| {
            d.labels.clear();
            d.inbounds[0].tags.insert(LABEL.into(), bad.into());
        };
        rejects(server, tag, &[field, bad, rule]).await;
    }
}

#[tokio::test]
async fn labels_and_tags_must_name_the_same_workload() {
    let server = &Server::start().await;
    let tag = |d: &mut Dataplane| {
        d.inbounds[0].tags.insert(LABEL.into(), "api".into());
    };
    let field = r#"hello.dataplane.inbounds[0].tags["kuma.io/workload"]: "api" disagrees"#;
    let parts = [field, r#"labels["kuma.io/workload"] ("web")"#, "give all the same value"];
    rejects(server, tag, &parts).await;
    let tags = |d: &mut Dataplane| {
        d.labels.clear();
        d.inbounds.push(inbound(9090));
        d.inbounds[0].tags.insert(LABEL.into(), "web".into());
        d.inbounds[1].tags.insert(LABEL.into(), "api".into());
    };
    rejects(server, tags, &["inbounds[1].tags", "disagrees", "inbounds[0].tags"]).await;
}

#[tokio::test]
async fn inbound_ports_must_be_valid_and_distinct() {
    let server = &Server::start().await;
    for bad in [0, 65_536, u32::MAX] {
        let parts = ["hello.dataplane.inbounds[0].port: ", &bad.to_string(), "must be between 1 and 65535"];
        rejects(server, |d| d.inbounds[0].port = bad, &parts).await;
    }
    let twice = ["hello.dataplane.inbounds[1].port: 8080", "inbounds[0] already", "declare each port once"];
    rejects(server, |d| d.inbounds.push(inbound(8080)), &twice).await;
}

#[tokio::test]
async fn the_size_of_a_hello_is_limited() {
    let server = &Server::start().await;
    let many = || (0..65).map(|n| (format!("l{n}"), "v".to_owned())).collect::<BTreeMap<_, _>>();
    let labels = ["hello.dataplane.labels: 65", "at most 64", "leave some out"];
    rejects(server, |d| d.labels = many(), &labels).await;
    let tags = ["hello.dataplane.inbounds[0].tags: 65", "at most 64"];
    rejects(server, |d| d.inbounds[0].tags = many(), &tags).await;
    let inbounds = ["hello.dataplane.inbounds: 65", "at most 64", "leave some out"];
    rejects(server, |d| d.inbounds = (1..=65).map(inbound).collect(), &inbounds).await;
    let address = ["hello.dataplane.address: ", "must be an IP address or a DNS name"];
    rejects(server, |d| d.address = "a".repeat(254), &address).await;
    let name = ["hello.dataplane.inbounds[0].name: 64", "at most 63"];
    rejects(server, |d| d.inbounds[0].name = "n".repeat(64), &name).await;
}

#[tokio::test]
async fn the_largest_allowed_hello_is_accepted() {
    let server = Server::start().await;
    let mut largest = dataplane("a", "web");
    largest.labels.extend((0..63).map(|n| (format!("l{n}"), "v".to_owned())));
    largest.inbounds = (1..=64).map(inbound).collect();
    largest.address = [63, 63, 63, 61].map(|length| "a".repeat(length)).join(".");
    server.proxy(largest).await;
    server.wait_for_counts("web", (0, 0, 1)).await;
}

#[tokio::test]
async fn an_unknown_environment_is_rejected() {
    let server = &Server::start().await;
    let parts = ["hello.dataplane.environment: 99", "unknown value", "KUBERNETES (2)"];
    rejects(server, |d| d.environment = 99, &parts).await;
}

#[tokio::test]
async fn a_hello_requires_a_dataplane_and_limits_the_agent_version() {
    let server = Server::start().await;
    let status = rejected(&server, Request::Hello(Hello::default())).await;
    assert_status(&status, Code::InvalidArgument, &["hello.dataplane: is required"]);
    let long =
        Hello { dataplane: Some(dataplane("a", "web")), agent_version: "v".repeat(65), ..Hello::default() };
    let status = rejected(&server, Request::Hello(long)).await;
    assert_status(&status, Code::InvalidArgument, &["hello.agent_version: 65", "at most 64"]);
    still_serves(&server).await;
}

#[tokio::test]
async fn placeholders_and_addresses_that_are_none_are_rejected() {
    let server = &Server::start().await;
    let unfilled = "was not filled in: write the value in its place";
    rejects(server, |d| d.name = "$(POD_NAME)".into(), &["hello.dataplane.name: ", "$(POD_NAME)", unfilled])
        .await;
    let label = |d: &mut Dataplane| {
        d.labels.insert("app".into(), "{{ .Values.app }}".into());
    };
    rejects(server, label, &[r#"hello.dataplane.labels["app"]: "#, "{{ .Values.app }}", unfilled]).await;
    let address = "hello.dataplane.address: ";
    rejects(server, |d| d.address = "{{ host_ip }}".into(), &[address, "{{ host_ip }}", unfilled]).await;
    rejects(server, |d| d.address = "127.0.0.1:8080".into(), &[address, "write 127.0.0.1, and the port"])
        .await;
    rejects(server, |d| d.address = "[::1]".into(), &[address, "write ::1 without brackets"]).await;
    rejects(server, |d| d.address = "0.0.0.0".into(), &[address, "at which others reach the proxy"]).await;
}

#[tokio::test]
async fn labels_that_the_control_plane_computes_may_not_contradict_the_dataplane() {
    let server = &Server::start().await;
    for (key, value, of) in [
        ("kuma.io/mesh", "other", "the mesh of the dataplane, \"default\""),
        ("k8s.kuma.io/namespace", "other", "the namespace of the dataplane, \"shop\""),
        ("kuma.io/zone", "west", "the zone of the dataplane, \"east\""),
        ("kuma.io/env", "kubernetes", "the environment of the dataplane, \"universal\""),
        ("kuma.io/display-name", "b", "the name of the dataplane, \"a\""),
        ("kuma.io/origin", "global", "the origin of the dataplane, \"zone\""),
    ] {
        let label = |d: &mut Dataplane| {
            (d.namespace, d.zone) = ("shop".into(), "east".into());
            d.set_environment(Environment::Universal);
            d.labels.insert(key.into(), value.into());
        };
        let field = format!("hello.dataplane.labels[{key:?}]: {value:?}: contradicts {of}");
        rejects(server, label, &[&field, "leave it out"]).await;
    }
}
