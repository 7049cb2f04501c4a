//! A filter that is taken reads back from its canonical text as the same one,
//! and means what a naive reading of the text means.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use headcount::{
    convert,
    model::{
        Counts, Environment, Filter, LabelSelector, MAX_SELECTOR_BYTES, MeshName, Namespace, Workload,
        WorkloadIdentity, WorkloadKey, WorkloadName,
    },
    proto::WorkloadFilter,
};

use super::{
    rules::{self, is_dns_1123_label, is_dns_1123_subdomain, is_label_key},
    selector::{self, Requirement},
};

/// Takes text: mesh, namespace and name on a line each, then the selector.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let mut lines = text.splitn(4, '\n').map(str::to_owned);
    let mut line = || lines.next().unwrap_or_default();
    let stated = WorkloadFilter { mesh: line(), namespace: line(), name: line(), label_selector: line() };
    match convert::filter_from_proto(&stated) {
        Ok(filter) => {
            assert!(has_lawful_names(&stated), "{stated:?}");
            assert_says(&filter.selector, &stated.label_selector);
            assert_reads_back(&filter, &stated);
            for (mesh, namespace, name) in
                [("default", "default", "web"), (&stated.mesh, &stated.namespace, &stated.name)]
            {
                assert_matches(&filter, &stated, mesh, namespace, name);
            }
        }
        Err(invalid) => {
            rules::assert_fit(&invalid);
            match invalid.field.as_str() {
                "filter.label_selector" => assert!(has_lawful_names(&stated), "{stated:?}"),
                "filter.mesh" | "filter.namespace" | "filter.name" => {
                    assert!(!has_lawful_names(&stated), "{stated:?}");
                }
                other => panic!("a filter has no field {other}"),
            }
        }
    }
}

fn has_lawful_names(stated: &WorkloadFilter) -> bool {
    let optional = |text: &str, rule: fn(&str) -> bool| text.is_empty() || rule(text);
    optional(&stated.mesh, is_dns_1123_label)
        && optional(&stated.namespace, is_dns_1123_label)
        && optional(&stated.name, is_dns_1123_subdomain)
}

/// Both readings agree on labels that have, miss and contradict what is asked.
fn assert_says(selector: &LabelSelector, text: &str) {
    let requirements = selector::read(text).unwrap_or_else(|| panic!("{text:?} was taken: {selector:?}"));
    assert!(requirements.iter().all(|requirement| is_label_key(&requirement.key)), "{text:?}");
    for turn in 0..4 {
        let labels = labels(&requirements, turn);
        let wanted = requirements.iter().all(|asked| asked.holds(labels.get(&*asked.key).copied()));
        assert_eq!(selector.matches(|key| labels.get(key).copied()), wanted, "{text:?} on {labels:?}");
    }
}

/// Each key has a listed value, another value, or is not there, by turns.
fn labels(requirements: &[Requirement], turn: usize) -> BTreeMap<&str, &str> {
    let mut labels = BTreeMap::new();
    for (index, Requirement { key, values, .. }) in requirements.iter().enumerate() {
        match (index + turn) % 3 {
            // The last turn satisfies as much as one can.
            _ if turn == 3 => drop(labels.insert(&**key, values.last().map_or("", String::as_str))),
            0 => drop(labels.insert(key, values.first().map_or("", String::as_str))),
            1 => drop(labels.insert(key, "unheard-of")),
            _ => {}
        }
    }
    labels
}

fn assert_reads_back(filter: &Filter, stated: &WorkloadFilter) {
    let text = filter.selector.to_string();
    // `a=b` is shorter than its canonical text.
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
    let or = |text: &str, otherwise: &str| if text.is_empty() { otherwise } else { text }.to_owned();
    let (mesh, namespace, name) = (or(mesh, "m"), or(namespace, "default"), or(name, "n"));
    let key = WorkloadKey {
        namespace: Namespace::parse("", &namespace).expect("it was taken"),
        name: WorkloadName::parse_kubernetes("", &name).expect("it was taken"),
    };
    let holder = MeshName::parse("", &mesh).expect("it was taken");
    let identity =
        Arc::new(WorkloadIdentity::new(key, holder, Environment::Universal, None, SystemTime::UNIX_EPOCH));
    let labels: BTreeMap<_, _> = identity.labels.iter().collect();
    let requirements = selector::read(&stated.label_selector).unwrap_or_default();
    let any_or = |asked: &str, is: &str| asked.is_empty() || asked == is;
    let wanted = any_or(&stated.mesh, &mesh)
        && any_or(&stated.namespace, &namespace)
        && any_or(&stated.name, &name)
        && requirements.iter().all(|asked| asked.holds(labels.get(&*asked.key).copied()));
    let workload = Workload::draft(Arc::clone(&identity), Counts::default(), SystemTime::UNIX_EPOCH);
    assert_eq!(filter.matches(&workload), wanted, "{stated:?} on {mesh}, {namespace}/{name}");
}
