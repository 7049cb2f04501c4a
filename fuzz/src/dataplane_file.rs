//! A Dataplane document is rejected with a bounded message, or gives a valid dataplane and probes that
//! can run. Written as a document again, it is parsed as the same dataplane.

use std::time::Duration;

use headcount::{
    agent::{DataplaneFile, DataplaneFileError, ProbeHandler, ProbeSpec},
    model::{Dataplane, Environment, WORKLOAD_LABEL},
};
use serde_json::{Value, json};

use super::rules::{self, is_dns_1035_label, is_dns_1123_label, is_dns_1123_subdomain};

/// Longest message of a syntax error, in bytes: it quotes a few lines of the file.
const LONGEST_SYNTAX_ERROR: usize = 8_192;

/// Input: the text of a document.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match DataplaneFile::parse(text) {
        Ok(file) => check_file(&file),
        Err(DataplaneFileError::Invalid(invalid)) => assert_rejection(&invalid),
        Err(DataplaneFileError::Syntax(problem)) => {
            assert!(!problem.is_empty());
            assert!(problem.len() <= LONGEST_SYNTAX_ERROR, "{} bytes: {problem:.300}", problem.len());
            let control = |c: char| c.is_control() && c != '\n';
            assert!(!problem.contains(control), "a control character in {problem:?}");
        }
        Err(other) => panic!("no file was read: {other}"),
    }
}

fn check_file(file: &DataplaneFile) {
    assert_eq!(file.inbounds.len(), file.spec.inbounds.len());
    assert!(file.warnings.len() <= 21, "{} warnings", file.warnings.len());
    for inbound in &file.inbounds {
        assert!(!inbound.applications.is_empty(), "{inbound:?}");
        inbound
            .applications
            .iter()
            .filter_map(|application| application.probe.as_ref())
            .for_each(assert_can_run);
    }
    match file.dataplane() {
        Ok(dataplane) => {
            assert_valid(&dataplane);
            let again = DataplaneFile::parse(&document(file).to_string()).expect("it was accepted before");
            assert_eq!(again.spec, file.spec);
        }
        Err(invalid) => assert_rejection(&invalid),
    }
}

fn assert_can_run(probe: &ProbeSpec) {
    assert!(probe.port != 0 && !probe.host.is_empty(), "{probe:?}");
    assert!(probe.thresholds.healthy != 0 && probe.thresholds.unhealthy != 0, "{probe:?}");
    for time in [probe.interval, probe.timeout] {
        assert!(!time.is_zero() && time <= Duration::from_hours(1), "{probe:?}");
    }
    if let ProbeHandler::Http(path) = &probe.handler {
        assert!(path.as_str().starts_with('/'), "{probe:?}");
    }
}

fn assert_valid(dataplane: &Dataplane) {
    assert!(is_dns_1123_label(dataplane.key.mesh.as_str()), "{dataplane:?}");
    assert!(is_dns_1123_label(dataplane.key.namespace.as_str()), "{dataplane:?}");
    assert!(is_dns_1123_subdomain(dataplane.key.name.as_str()), "{dataplane:?}");
    assert!(dataplane.zone.as_ref().is_none_or(|zone| is_dns_1123_label(zone.as_str())), "{dataplane:?}");
    assert!(dataplane.inbounds.iter().all(|inbound| inbound.port != 0), "{dataplane:?}");
    let is_workload = match dataplane.environment {
        Environment::Universal => is_dns_1035_label,
        Environment::Kubernetes => is_dns_1123_subdomain,
    };
    if let Some(workload) = dataplane.labels.get(WORKLOAD_LABEL).filter(|workload| !workload.is_empty()) {
        assert!(is_workload(workload), "{dataplane:?}");
    }
}

/// The spec as a document in JSON, which is also YAML.
fn document(file: &DataplaneFile) -> Value {
    let inbounds = file
        .spec
        .inbounds
        .iter()
        .map(|inbound| json!({ "port": inbound.port, "name": inbound.name, "tags": inbound.tags }));
    let mut networking = json!({ "address": file.spec.address });
    if file.spec.inbounds.is_empty() {
        networking["gateway"] = json!({});
    } else {
        networking["inbound"] = inbounds.collect();
    }
    if file.spec.environment == Environment::Kubernetes {
        let metadata = json!({
            "name": file.spec.name, "namespace": file.spec.namespace, "labels": file.spec.labels,
        });
        return json!({ "mesh": file.spec.mesh, "metadata": metadata, "spec": { "networking": networking } });
    }
    json!({
        "type": "Dataplane",
        "mesh": file.spec.mesh,
        "name": file.spec.name,
        "labels": file.spec.labels,
        "networking": networking,
    })
}

fn assert_rejection(invalid: &headcount::model::Invalid) {
    rules::assert_printable(invalid);
    let top =
        ["kind", "type", "mesh", "name", "namespace", "zone", "labels", "networking", "metadata", "spec"];
    let field = &invalid.field;
    let named = top.iter().any(|key| {
        field.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    });
    assert!(named, "a document has no key {field}");
}
