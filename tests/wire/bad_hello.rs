//! Hellos that state something wrong: each is refused with the place, the rule
//! and the remedy, and leaves nothing behind.

use std::collections::BTreeMap;

use headcount::proto::{Dataplane, Hello, session_request::Message as Said};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    proxy::{Line, hello},
    support::{Server, assert_says, dataplane, inbound, still_serves},
};

const LABEL: &str = headcount::model::WORKLOAD_LABEL;

async fn refused(server: &Server, said: Said) -> Status {
    let mut line = Line::open(server.channel()).await;
    line.say(said);
    line.end().await
}

/// Says hello as a good dataplane that was spoilt, and expects these words.
async fn spoilt(server: &Server, spoil: impl FnOnce(&mut Dataplane), words: &[&str]) {
    let mut stated = dataplane("a", "web");
    spoil(&mut stated);
    let status = refused(server, hello(stated)).await;
    assert_says(&status, Code::InvalidArgument, words);
    let details = status.get_details_bad_request().expect("details for machines");
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
    spoilt(server, |d| d.mesh.clear(), &[mesh, required, label]).await;
    for bad in ["My Mesh", "-mesh", "mesh.east", &"m".repeat(64)] {
        spoilt(server, |d| d.mesh = bad.into(), &[mesh, bad, label]).await;
    }
    let name = "hello.dataplane.name: ";
    spoilt(server, |d| d.name.clear(), &[name, required, subdomain]).await;
    for bad in ["Web_1", "web..1", &"w".repeat(254)] {
        spoilt(server, |d| d.name = bad.into(), &[name, &bad[..5], subdomain]).await;
    }
    let namespace = "hello.dataplane.namespace: ";
    spoilt(server, |d| d.namespace = "kuma/demo".into(), &[namespace, "kuma/demo", label]).await;
    let zone = "hello.dataplane.zone: ";
    spoilt(server, |d| d.zone = "East".into(), &[zone, "East", label]).await;
}

#[tokio::test]
async fn a_workloads_name_must_be_a_dns_1035_label_wherever_it_stands() {
    let server = &Server::start().await;
    let rule = "DNS-1035 label (at most 63";
    for bad in ["MyWorkload", "1abc", &"a".repeat(64), "web-", "web.v1"] {
        let place = r#"hello.dataplane.labels["kuma.io/workload"]: "#;
        let label = |d: &mut Dataplane| {
            d.labels.insert(LABEL.into(), bad.into());
        };
        spoilt(server, label, &[place, bad, rule]).await;
        let place = r#"hello.dataplane.inbounds[0].tags["kuma.io/workload"]: "#;
        let tag = |d: &mut Dataplane| {
            d.labels.clear();
            d.inbounds[0].tags.insert(LABEL.into(), bad.into());
        };
        spoilt(server, tag, &[place, bad, rule]).await;
    }
}

#[tokio::test]
async fn all_places_that_name_the_workload_must_agree() {
    let server = &Server::start().await;
    let tag = |d: &mut Dataplane| {
        d.inbounds[0].tags.insert(LABEL.into(), "api".into());
    };
    let place = r#"hello.dataplane.inbounds[0].tags["kuma.io/workload"]: "api" disagrees"#;
    let words = [place, r#"labels["kuma.io/workload"] ("web")"#, "give all the same value"];
    spoilt(server, tag, &words).await;
    let tags = |d: &mut Dataplane| {
        d.labels.clear();
        d.inbounds.push(inbound(9090));
        d.inbounds[0].tags.insert(LABEL.into(), "web".into());
        d.inbounds[1].tags.insert(LABEL.into(), "api".into());
    };
    spoilt(server, tags, &["inbounds[1].tags", "disagrees", "inbounds[0].tags"]).await;
}

#[tokio::test]
async fn ports_must_be_ports_and_each_its_own() {
    let server = &Server::start().await;
    for bad in [0, 65_536, u32::MAX] {
        let words = ["hello.dataplane.inbounds[0].port: ", &bad.to_string(), "must be between 1 and 65535"];
        spoilt(server, |d| d.inbounds[0].port = bad, &words).await;
    }
    let twice = ["hello.dataplane.inbounds[1].port: 8080", "inbounds[0] already", "declare each port once"];
    spoilt(server, |d| d.inbounds.push(inbound(8080)), &twice).await;
}

#[tokio::test]
async fn a_hello_may_state_only_so_much() {
    let server = &Server::start().await;
    let many = || (0..65).map(|n| (format!("l{n}"), "v".to_owned())).collect::<BTreeMap<_, _>>();
    let labels = ["hello.dataplane.labels: 65", "at most 64", "leave some out"];
    spoilt(server, |d| d.labels = many(), &labels).await;
    let tags = ["hello.dataplane.inbounds[0].tags: 65", "at most 64"];
    spoilt(server, |d| d.inbounds[0].tags = many(), &tags).await;
    let inbounds = ["hello.dataplane.inbounds: 65", "at most 64", "leave some out"];
    spoilt(server, |d| d.inbounds = (1..=65).map(inbound).collect(), &inbounds).await;
    let address = ["hello.dataplane.address: 254", "at most 253"];
    spoilt(server, |d| d.address = "a".repeat(254), &address).await;
    let name = ["hello.dataplane.inbounds[0].name: 64", "at most 63"];
    spoilt(server, |d| d.inbounds[0].name = "n".repeat(64), &name).await;
}

#[tokio::test]
async fn the_most_that_a_hello_may_state_is_taken() {
    let server = Server::start().await;
    let mut stated = dataplane("a", "web");
    stated.labels.extend((0..63).map(|n| (format!("l{n}"), "v".to_owned())));
    stated.inbounds = (1..=64).map(inbound).collect();
    stated.address = "a".repeat(253);
    server.proxy(stated).await;
    server.until_counts("web", (0, 0, 1)).await;
}

#[tokio::test]
async fn an_unknown_environment_is_refused() {
    let server = &Server::start().await;
    let words = ["hello.dataplane.environment: 99", "unknown value", "KUBERNETES (2)"];
    spoilt(server, |d| d.environment = 99, &words).await;
}

#[tokio::test]
async fn a_hello_needs_a_dataplane_and_a_short_version() {
    let server = Server::start().await;
    let status = refused(&server, Said::Hello(Hello::default())).await;
    assert_says(&status, Code::InvalidArgument, &["hello.dataplane: is required"]);
    let long =
        Hello { dataplane: Some(dataplane("a", "web")), agent_version: "v".repeat(65), ..Hello::default() };
    let status = refused(&server, Said::Hello(long)).await;
    assert_says(&status, Code::InvalidArgument, &["hello.agent_version: 65", "at most 64"]);
    still_serves(&server).await;
}
