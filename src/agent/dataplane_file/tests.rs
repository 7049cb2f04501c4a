//! Valid and invalid documents.

use std::time::Duration;

use super::*;
use crate::{
    agent::{
        probe::{ProbeHandler, ProbeSpec},
        threshold::Thresholds,
    },
    model::WORKLOAD_LABEL,
};

fn parse(text: &str) -> DataplaneFile {
    DataplaneFile::parse(text).unwrap()
}

fn rejection(text: &str) -> String {
    match DataplaneFile::parse(text) {
        Err(error) => error.to_string(),
        Ok(file) => file.dataplane().unwrap_err().to_string(),
    }
}

/// A file with one inbound that has these additional lines.
fn with_inbound(lines: &str) -> String {
    let lines = lines.replace('\n', "\n      ");
    format!(
        "type: Dataplane\nmesh: default\nname: web-1\nnetworking:\n  address: 10.0.0.1\n  inbound:\n    - port: 80\n      {lines}\n"
    )
}

/// The only probe of an inbound.
fn probe_of(file: &DataplaneFile, inbound: usize) -> ProbeSpec {
    let [application] = &file.inbounds[inbound].applications[..] else { panic!("one application expected") };
    application.probe.clone().expect("a probe")
}

fn probe(lines: &str) -> ProbeSpec {
    probe_of(&parse(&with_inbound(lines)), 0)
}

#[test]
fn the_workload_example_is_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/dataplanes/demo-workload.yaml");
    let file = DataplaneFile::read(Path::new(path)).unwrap();
    let dataplane = file.dataplane().unwrap();
    assert_eq!(dataplane.key.to_string(), "default/default/demo-workload-1");
    assert_eq!(dataplane.workload.unwrap().as_str(), "demo-workload");
    assert_eq!(dataplane.inbounds[0].port, 18080);
    assert_eq!(dataplane.inbounds[0].tags.get("kuma.io/protocol"), Some("http"));
    let probe = probe_of(&file, 0);
    assert_eq!((probe.host.as_str(), probe.port), ("127.0.0.1", 8080));
    assert_eq!(probe.handler, ProbeHandler::Tcp);
    assert_eq!((probe.interval, probe.timeout), (Duration::from_secs(1), Duration::from_millis(500)));
    assert_eq!(probe.thresholds, Thresholds { healthy: 1, unhealthy: 3 });
}

#[test]
fn the_gateway_example_has_no_inbounds() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/dataplanes/gateway.yaml");
    let file = DataplaneFile::read(Path::new(path)).unwrap();
    assert!(file.inbounds.is_empty());
    let dataplane = file.dataplane().unwrap();
    assert!(dataplane.inbounds.is_empty());
    assert_eq!(dataplane.workload.unwrap().as_str(), "edge-gateway");
}

#[test]
fn the_caller_may_override_fields_of_the_file() {
    let mut file = parse(&with_inbound("name: http"));
    file.spec.namespace = "shop".into();
    file.spec.zone = "west".into();
    file.spec.labels.insert(WORKLOAD_LABEL.into(), "web".into());
    let dataplane = file.dataplane().unwrap();
    assert_eq!(dataplane.workload_key().unwrap().to_string(), "shop/web");
    assert_eq!(dataplane.zone.unwrap().as_str(), "west");
}

#[test]
fn a_probe_goes_where_kuma_sends_the_traffic() {
    let target = |lines: &str| {
        let probe = probe(&format!("{lines}\nserviceProbe: {{}}"));
        (probe.host, probe.port)
    };
    assert_eq!(target("name: a"), ("10.0.0.1".into(), 80));
    assert_eq!(target("servicePort: 8080"), ("10.0.0.1".into(), 8080));
    assert_eq!(target("address: 10.0.0.2"), ("10.0.0.2".into(), 80));
    assert_eq!(target("address: 10.0.0.2\nserviceAddress: ::1"), ("::1".into(), 80));
    let without_address = with_inbound("serviceProbe: {tcp: {}}").replace("  address: 10.0.0.1\n", "");
    assert_eq!(probe_of(&parse(&without_address), 0).host, "127.0.0.1");
}

#[test]
fn an_inbound_without_a_probe_has_an_application_and_the_key_of_its_host() {
    let application = |lines: &str| {
        let Application { host, host_key, port, .. } =
            parse(&with_inbound(lines)).inbounds.remove(0).applications.remove(0);
        format!("{host_key}: {host} {port}")
    };
    assert_eq!(application("name: a"), "networking.address: 10.0.0.1 80");
    assert_eq!(application("address: b\nservicePort: 81"), "networking.inbound[0].address: b 81");
    assert_eq!(application("address: b\nserviceAddress: c"), "networking.inbound[0].serviceAddress: c 80");
    let error = rejection(&with_inbound("servicePort: 65536"));
    assert!(error.starts_with("networking.inbound[0].servicePort: 65536: must be a whole"), "{error}");
}

#[test]
fn an_empty_probe_has_the_defaults_of_kuma() {
    let probe = probe("serviceProbe:\n  tcp: {}");
    assert_eq!((probe.interval, probe.timeout), (Duration::from_millis(250), Duration::from_secs(2)));
    assert_eq!(probe.thresholds, Thresholds { healthy: 1, unhealthy: 1 });
}

#[test]
fn an_http_probe_requests_its_path() {
    let path = |lines: &str| match probe(lines).handler {
        ProbeHandler::Http(path) => path.to_string(),
        ProbeHandler::Tcp => "tcp".to_owned(),
    };
    assert_eq!(path("serviceProbe: {http: {path: /health?full=1}}"), "/health?full=1");
    assert_eq!(path("serviceProbe: {http: {}}"), "/");
    assert_eq!(path("serviceProbe: {interval: 10s}"), "tcp");
}

#[test]
fn an_invalid_value_is_rejected_with_its_key_and_the_rule() {
    for (lines, expected) in [
        ("servicePort: 65536\nserviceProbe: {}", "networking.inbound[0].servicePort: 65536: must be a whole"),
        (
            "serviceProbe: {interval: 0s}",
            "networking.inbound[0].serviceProbe.interval: 0s: must be more than 0",
        ),
        (
            "serviceProbe: {interval: 2h}",
            "networking.inbound[0].serviceProbe.interval: 2h: must be more than 0",
        ),
        ("serviceProbe: {timeout: 5}", "networking.inbound[0].serviceProbe.timeout: 5: must be text"),
        ("serviceProbe: {timeout: '{{ t }}'}", "networking.inbound[0].serviceProbe.timeout: the placeholder"),
        (
            "serviceProbe: {http: {path: '/$(P)'}}",
            "networking.inbound[0].serviceProbe.http.path: \"/$(P)\": the",
        ),
        ("serviceProbe: {timeout: ten}", "networking.inbound[0].serviceProbe.timeout: \"ten\":"),
        (
            "serviceProbe: {healthyThreshold: 0}",
            "networking.inbound[0].serviceProbe.healthyThreshold: 0: must",
        ),
        ("serviceProbe: {http: {path: health}}", "networking.inbound[0].serviceProbe.http.path: \"health\":"),
        ("serviceProbe: {http: {path: 'a b'}}", "networking.inbound[0].serviceProbe.http.path:"),
        ("serviceProbe: {tcp: {}, http: {}}", "networking.inbound[0].serviceProbe: has both tcp and http"),
        ("tags: {'kuma.io/workload': Web}", "networking.inbound[0].tags[\"kuma.io/workload\"]: \"Web\""),
    ] {
        let error = rejection(&with_inbound(lines));
        assert!(error.starts_with(expected), "{lines}: {error}");
    }
}

#[test]
fn other_documents_are_rejected_with_a_hint() {
    for (text, expected) in [
        ("apiVersion: kuma.io/v1alpha1\nkind: Dataplane\nmetadata: {name: a}", "spec: is required"),
        ("kind: Pod\nmetadata: {name: a}", "kind: \"Pod\": must be Dataplane"),
        ("type: Mesh\nname: default", "type: \"Mesh\": must be Dataplane"),
        ("mesh: default\nname: a", "networking: is required"),
        (
            "mesh: default\nname: a\nnetworking: {address: 10.0.0.1, inbounds: [{port: 80}]}",
            "networking.inbounds: is not a key of Kuma's Dataplane and is ignored: did you mean inbound?",
        ),
        (
            "mesh: m\nname: a\nnetworking: {gateway: {}, inbound: [{port: 1}]}",
            "networking.inbound: a gateway has none",
        ),
        ("name: a\nnetworking: {gateway: {}}", "mesh: is required"),
        ("mesh: default\nnetworking: {gateway: {}}", "name: is required"),
        (
            "mesh: m\nname: a\nnetworking: {gateway: {}, address: 'a\tb'}",
            "networking.address: \"a\\tb\": must be an IP address",
        ),
    ] {
        let error = rejection(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    assert!(rejection("name: {{ name }}\nmesh: default").contains("fill them in"));
    assert!(
        rejection("networking: {inbound: [{port: eighty}]}").contains("port"),
        "{}",
        rejection("networking: {inbound: [{port: eighty}]}")
    );
    assert!(rejection(&"[".repeat(5000)).len() < 10_000);
}

#[test]
fn an_error_is_short_and_has_no_control_characters() {
    let long = "x".repeat(900_000);
    for text in [
        "x: &x {a: b}\nmesh: *x\n mesh:\tm\nnaw}".to_owned(),
        "x: &x {a: b}\nmesh: *x\n#\u{1b}[31m\u{9b}\u{7f}\n".to_owned(),
        "mesh: \u{1b}[31m".to_owned(),
        format!("type: {long}"),
        format!("mesh: [{long}\nname: a"),
        format!("{long}: &x {{a: b}}\nmesh: *x"),
        format!("mesh: *{long}"),
        with_inbound(&format!("serviceProbe: {{http: {{path: '{long}'}}}}")),
        with_inbound(&format!("serviceProbe: {{interval: '{long}'}}")),
        with_inbound(&format!("servicePort: '{long}'")),
    ] {
        let error = rejection(&text);
        assert!(error.len() < 8_192, "{} bytes: {error:.300}", error.len());
        assert!(!error.contains(|c: char| c.is_control() && c != '\n'), "{error:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_document_panics(
        key in "(type|mesh|labels|networking|  inbound|  gateway)",
        value in "[ -~\\n]{0,40}",
        rest in ".{0,60}",
    ) {
        if let Ok(file) = DataplaneFile::parse(&format!("name: a\n{key}: {value}\n{rest}")) {
            let _ = file.dataplane();
        }
    }
}

#[test]
fn a_file_above_1_mib_is_rejected() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), " ".repeat(1024 * 1024 + 1)).unwrap();
    let error = DataplaneFile::read(file.path()).unwrap_err();
    assert!(matches!(error, DataplaneFileError::TooLarge(_)), "{error}");
    let missing = DataplaneFile::read(&file.path().with_extension("none")).unwrap_err();
    assert!(missing.to_string().starts_with("can't read "), "{missing}");
}
