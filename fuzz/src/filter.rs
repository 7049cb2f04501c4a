//! An accepted filter equals the one that is parsed from its canonical text, and matches the same
//! Workloads as a naive implementation.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use headcount::{
    convert,
    model::{
        Counts, Environment, Filter, LabelSelector, MAX_SELECTOR_BYTES, MeshName, Namespace, Workload,
        WorkloadIdentity, WorkloadKey, WorkloadName, WorkloadTraits,
    },
    proto::WorkloadFilter,
};

use super::{
    rules::{self, is_dns_1123_label, is_dns_1123_subdomain, is_label_key},
    selector::{self, Requirement},
};

/// Input: text with mesh, namespace and name on a line each, then the label selector.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let mut lines = text.splitn(4, '\n').map(str::to_owned);
    let mut line = || lines.next().unwrap_or_default();
    let stated = WorkloadFilter { mesh: line(), namespace: line(), name: line(), label_selector: line() };
    match convert::filter_from_proto(&stated) {
        Ok(filter) => {
            assert!(has_valid_names(&stated), "{stated:?}");
            assert_matches_labels(&filter.selector, &stated.label_selector);
            assert_round_trip(&filter, &stated);
            for (mesh, namespace, name) in
                [("default", "default", "web"), (&stated.mesh, &stated.namespace, &stated.name)]
            {
                assert_matches(&filter, &stated, mesh, namespace, name);
            }
        }
        Err(invalid) => {
            rules::assert_printable(&invalid);
            match invalid.field.as_str() {
                "filter.label_selector" => assert!(has_valid_names(&stated), "{stated:?}"),
                "filter.mesh" | "filter.namespace" | "filter.name" => {
                    assert!(!has_valid_names(&stated), "{stated:?}");
                }
                other => panic!("a filter has no field {other}"),
            }
        }
    }
}

fn has_valid_names(stated: &WorkloadFilter) -> bool {
    let optional = |text: &str, rule: fn(&str) -> bool| text.is_empty() || rule(text);
    optional(&stated.mesh, is_dns_1123_label)
        && optional(&stated.namespace, is_dns_1123_label)
        && optional(&stated.name, is_dns_1123_subdomain)
}

/// Both implementations agree on labels that satisfy, lack and contradict the requirements.
fn assert_matches_labels(selector: &LabelSelector, text: &str) {
    let requirements = selector::parse(text).unwrap_or_else(|| panic!("{text:?} was accepted: {selector:?}"));
    assert!(requirements.iter().all(|requirement| is_label_key(&requirement.key)), "{text:?}");
    for turn in 0..4 {
        let labels = labels(&requirements, turn);
        let wanted =
            requirements.iter().all(|requirement| requirement.holds(labels.get(&*requirement.key).copied()));
        assert_eq!(selector.matches(|key| labels.get(key).copied()), wanted, "{text:?} on {labels:?}");
    }
}

/// Labels in which each key has a listed value, another value, or is absent, by turns.
fn labels(requirements: &[Requirement], turn: usize) -> BTreeMap<&str, &str> {
    let mut labels = BTreeMap::new();
    for (index, Requirement { key, values, .. }) in requirements.iter().enumerate() {
        match (index + turn) % 3 {
            // The last turn satisfies as many requirements as possible.
            _ if turn == 3 => drop(labels.insert(&**key, values.last().map_or("", String::as_str))),
            0 => drop(labels.insert(key, values.first().map_or("", String::as_str))),
            1 => drop(labels.insert(key, "unlisted")),
            _ => {}
        }
    }
    labels
}

fn assert_round_trip(filter: &Filter, stated: &WorkloadFilter) {
    let text = filter.selector.to_string();
    // The canonical text may be longer than the text, and exceed the limit.
    if text.len() <= MAX_SELECTOR_BYTES {
        let canonical = WorkloadFilter { label_selector: text.clone(), ..stated.clone() };
        let again =
            convert::filter_from_proto(&canonical).unwrap_or_else(|invalid| panic!("{text:?}: {invalid}"));
        assert_eq!(again, *filter);
        assert_eq!(again.selector.to_string(), text);
        assert_eq!(again.fingerprint(), filter.fingerprint());
    }
    let other = Filter { mesh: MeshName::parse("", "another-mesh").ok(), ..filter.clone() };
    assert!(other == *filter || other.fingerprint() != filter.fingerprint(), "{filter:?}");
}

fn assert_matches(filter: &Filter, stated: &WorkloadFilter, mesh: &str, namespace: &str, name: &str) {
    let or = |text: &str, default: &str| if text.is_empty() { default } else { text }.to_owned();
    let (mesh, namespace, name) = (or(mesh, "m"), or(namespace, "default"), or(name, "n"));
    let key = WorkloadKey {
        namespace: Namespace::parse("", &namespace).expect("an accepted name"),
        name: WorkloadName::parse_kubernetes("", &name).expect("an accepted name"),
    };
    let holder = MeshName::parse("", &mesh).expect("an accepted name");
    let traits = WorkloadTraits { environment: Some(Environment::Universal), zone: None };
    let identity = Arc::new(WorkloadIdentity::new(key, holder, &traits, SystemTime::UNIX_EPOCH));
    let labels: BTreeMap<_, _> = identity.labels.iter().collect();
    let requirements = selector::parse(&stated.label_selector).unwrap_or_default();
    let matches = |wanted: &str, actual: &str| wanted.is_empty() || wanted == actual;
    let wanted = matches(&stated.mesh, &mesh)
        && matches(&stated.namespace, &namespace)
        && matches(&stated.name, &name)
        && requirements.iter().all(|requirement| requirement.holds(labels.get(&*requirement.key).copied()));
    let workload = Workload::draft(Arc::clone(&identity), Counts::default(), SystemTime::UNIX_EPOCH);
    assert_eq!(filter.matches(&workload), wanted, "{stated:?} on {mesh}, {namespace}/{name}");
}
