//! A hello is accepted if and only if it is valid; the accepted dataplane and heartbeat interval have
//! every field of the message; a rejection names an existing field.

use headcount::{
    convert,
    model::{Dataplane, DataplaneLimits, WORKLOAD_LABEL},
    proto::{self, Environment, Hello, Inbound},
};
use prost::Message as _;

use super::rules::{
    self, are_tags, entry, is_dns_1035_label, is_dns_1123_label, is_dns_1123_subdomain, is_label_key,
    is_label_value, is_short_text,
};

/// Input: an encoded `Hello`.
pub fn check(input: &[u8]) {
    let Ok(hello) = Hello::decode(input) else { return };
    check_heartbeat_interval(&hello);
    let accepted = convert::dataplane_from_hello(hello.clone(), DataplaneLimits::default());
    assert_eq!(accepted.is_ok(), is_valid(&hello), "{accepted:?}, of {hello:?}");
    match accepted {
        Ok(dataplane) => assert_represents(&dataplane, hello),
        Err(invalid) => {
            rules::assert_printable(&invalid);
            assert!(fields(&hello).contains(&invalid.field), "{invalid}, of {hello:?}");
        }
    }
}

fn assert_represents(dataplane: &Dataplane, hello: Hello) {
    let mut stated = hello.dataplane.expect("a hello without a dataplane is rejected");
    complete(&mut stated);
    assert_eq!(dataplane.workload.as_ref().map(ToString::to_string), workloads(&stated).pop());
    let written = convert::dataplane_to_proto(dataplane);
    assert_eq!(written, stated);
    assert_eq!(*dataplane.agent_version, hello.agent_version);

    let hello = Hello { dataplane: Some(written), ..hello };
    let again = convert::dataplane_from_hello(hello, DataplaneLimits::default());
    assert_eq!(again.as_ref(), Ok(dataplane));
}

fn check_heartbeat_interval(hello: &Hello) {
    let nanos =
        |stated: prost_types::Duration| i128::from(stated.seconds) * 1_000_000_000 + i128::from(stated.nanos);
    let stated = hello.heartbeat_interval.map(nanos);
    match convert::heartbeat_interval(hello) {
        Ok(interval) => {
            assert!(
                stated.is_none_or(|nanos| (1_000_000_000..=30_000_000_000).contains(&nanos)),
                "{hello:?}"
            );
            assert_eq!(interval.map(|interval| interval.as_nanos().cast_signed()), stated, "{hello:?}");
        }
        Err(invalid) => {
            rules::assert_printable(&invalid);
            assert_eq!(invalid.field, "hello.heartbeat_interval");
            assert!(
                stated.is_some_and(|nanos| !(1_000_000_000..=30_000_000_000).contains(&nanos)),
                "{hello:?}"
            );
        }
    }
}

/// Fills in the fields that a hello may leave to its labels.
fn complete(stated: &mut proto::Dataplane) {
    let label = |key| stated.labels.get(key).cloned().unwrap_or_default();
    let [namespace, zone, environment] = ["k8s.kuma.io/namespace", "kuma.io/zone", "kuma.io/env"].map(label);
    if stated.namespace.is_empty() {
        stated.namespace = if namespace.is_empty() { "default".to_owned() } else { namespace };
    }
    if stated.zone.is_empty() {
        stated.zone = zone;
    }
    if stated.environment == Environment::Unspecified as i32 {
        let is_kubernetes = environment == "kubernetes";
        stated.set_environment(if is_kubernetes { Environment::Kubernetes } else { Environment::Universal });
    }
}

fn is_valid(hello: &Hello) -> bool {
    let Some(mut stated) = hello.dataplane.clone() else { return false };
    complete(&mut stated);
    let stated = &stated;
    let owner = rules::Owner {
        mesh: &stated.mesh,
        namespace: &stated.namespace,
        name: &stated.name,
        zone: &stated.zone,
        is_kubernetes: stated.environment() == Environment::Kubernetes,
    };
    let optional = |text: &str, rule: fn(&str) -> bool| text.is_empty() || rule(text);
    is_dns_1123_label(&stated.mesh)
        && optional(&stated.namespace, is_dns_1123_label)
        && is_dns_1123_subdomain(&stated.name)
        && optional(&stated.zone, is_dns_1123_label)
        && (0..=2).contains(&stated.environment)
        && stated.labels.len() <= 64
        // The name of a workload has a stricter rule: see `names_one_workload`.
        && stated.labels.iter().all(|(key, value)| {
            is_label_key(key) && (key == WORKLOAD_LABEL || is_label_value(value))
        })
        && rules::owned_labels_agree(&stated.labels, owner)
        && rules::is_address(&stated.address)
        && are_valid(&stated.inbounds)
        && names_one_workload(stated)
        && is_short_text(&hello.agent_version, 64)
}

fn are_valid(inbounds: &[Inbound]) -> bool {
    let mut ports: Vec<_> = inbounds.iter().map(|inbound| inbound.port).collect();
    ports.sort_unstable();
    ports.dedup();
    inbounds.len() <= 64
        && ports.len() == inbounds.len()
        && ports.iter().all(|port| (1..=65_535).contains(port))
        && inbounds.iter().all(|inbound| !rules::has_placeholder(&inbound.name))
        && inbounds.iter().all(|inbound| is_short_text(&inbound.name, 63) && are_tags(&inbound.tags))
        && inbounds.iter().map(|inbound| inbound.tags.len()).sum::<usize>() <= 512
}

fn names_one_workload(stated: &proto::Dataplane) -> bool {
    let is_name = match stated.environment() {
        Environment::Kubernetes => is_dns_1123_subdomain,
        Environment::Universal | Environment::Unspecified => is_dns_1035_label,
    };
    let names = workloads(stated);
    names.iter().all(|name| is_name(name) && *name == names[0])
}

/// The workload's name in every label and tag that may hold it.
fn workloads(stated: &proto::Dataplane) -> Vec<String> {
    let tags = stated.inbounds.iter().map(|inbound| &inbound.tags);
    let tags = tags.filter(|_| stated.environment() != Environment::Kubernetes);
    [&stated.labels]
        .into_iter()
        .chain(tags)
        .filter_map(|map| map.get(WORKLOAD_LABEL))
        .filter(|name| !name.is_empty())
        .cloned()
        .collect()
}

/// The paths of all fields that a rejection may name.
fn fields(hello: &Hello) -> Vec<String> {
    let mut fields = vec!["hello.agent_version".to_owned(), "hello.dataplane".to_owned()];
    let Some(stated) = &hello.dataplane else { return fields };
    for name in ["mesh", "namespace", "name", "zone", "environment", "labels", "address", "inbounds"] {
        fields.push(format!("hello.dataplane.{name}"));
    }
    fields.extend(stated.labels.keys().map(|key| entry("hello.dataplane.labels", key)));
    for (index, inbound) in stated.inbounds.iter().enumerate() {
        let path = format!("hello.dataplane.inbounds[{index}]");
        fields.extend(["port", "name", "tags"].map(|name| format!("{path}.{name}")));
        fields.extend(inbound.tags.keys().map(|key| entry(&format!("{path}.tags"), key)));
    }
    fields
}
