//! Filters of Workloads.

use super::{FieldSelector, LabelSelector, MeshName, Namespace, Workload, WorkloadName};

/// The field selector name of a Workload's name.
pub const NAME_FIELD: &str = "metadata.name";
/// The field selector name of a Workload's namespace.
pub const NAMESPACE_FIELD: &str = "metadata.namespace";

/// Selects Workloads; every criterion that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The mesh that holds the Workload.
    pub mesh: Option<MeshName>,
    /// The Workload's namespace.
    pub namespace: Option<Namespace>,
    /// The Workload's name.
    pub name: Option<WorkloadName>,
    /// Selects by labels.
    pub selector: LabelSelector,
    /// Selects by [`NAME_FIELD`] and [`NAMESPACE_FIELD`].
    pub fields: FieldSelector,
}

impl Filter {
    /// Whether a Workload matches.
    pub fn matches(&self, workload: &Workload) -> bool {
        let identity = &workload.identity;
        self.mesh.as_ref().is_none_or(|mesh| *mesh == identity.mesh)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == identity.key.namespace)
            && self.name.as_ref().is_none_or(|name| *name == identity.key.name)
            && self.selector.matches(|key| identity.labels.get(key))
            && self.fields.matches(|field| match field {
                NAMESPACE_FIELD => identity.key.namespace.as_str(),
                _ => identity.key.name.as_str(),
            })
    }

    /// Returns a hash that is the same in every build. Page and resume tokens carry it, because
    /// a token of one filter is not valid for another.
    pub fn fingerprint(&self) -> u64 {
        fn text<T>(part: Option<&T>, as_str: impl Fn(&T) -> &str) -> &str {
            part.map_or("", as_str)
        }
        let parts = [
            text(self.mesh.as_ref(), MeshName::as_str),
            text(self.namespace.as_ref(), Namespace::as_str),
            text(self.name.as_ref(), WorkloadName::as_str),
            &self.selector.to_string(),
            &self.fields.to_string(),
        ];
        fnv1a(parts.join("\n").as_bytes())
    }
}

/// The 64-bit FNV-1a hash, which is stable across builds; the standard library's hashers are
/// not.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::model::{Counts, Environment, WorkloadIdentity, WorkloadKey, WorkloadTraits};

    fn workload(mesh: &str, namespace: &str, name: &str) -> Workload {
        let key = WorkloadKey {
            namespace: Namespace::parse("", namespace).unwrap(),
            name: WorkloadName::parse_universal("", name).unwrap(),
        };
        let mesh = MeshName::parse("", mesh).unwrap();
        let traits = WorkloadTraits { environment: Some(Environment::Universal), zone: None };
        let identity = WorkloadIdentity::new(key, mesh, &traits, SystemTime::UNIX_EPOCH);
        Workload::draft(Arc::new(identity), Counts::default(), SystemTime::UNIX_EPOCH)
    }

    fn filter(mesh: &str, namespace: &str, name: &str, selector: &str) -> Filter {
        Filter {
            mesh: (!mesh.is_empty()).then(|| MeshName::parse("", mesh).unwrap()),
            namespace: (!namespace.is_empty()).then(|| Namespace::parse("", namespace).unwrap()),
            name: (!name.is_empty()).then(|| WorkloadName::parse_universal("", name).unwrap()),
            selector: selector.parse().unwrap(),
            fields: FieldSelector::default(),
        }
    }

    fn with_fields(text: &str) -> Filter {
        let fields = FieldSelector::parse(text, &[NAME_FIELD, NAMESPACE_FIELD]).unwrap();
        Filter { fields, ..Filter::default() }
    }

    #[test]
    fn field_selectors_match_name_and_namespace() {
        let web = workload("default", "shop", "web");
        for (text, expected) in [
            ("metadata.name=web,metadata.namespace=shop", true),
            ("metadata.name=shop", false),
            ("metadata.namespace!=shop", false),
        ] {
            assert_eq!(with_fields(text).matches(&web), expected, "{text}");
        }
    }

    #[test]
    fn all_criteria_must_match() {
        let web = workload("default", "shop", "web");
        for (filter, expected) in [
            (filter("", "", "", ""), true),
            (filter("default", "shop", "web", "kuma.io/mesh=default"), true),
            (filter("other", "", "", ""), false),
            (filter("", "default", "", ""), false),
            (filter("", "", "api", ""), false),
            (filter("", "", "", "kuma.io/managed-by!=workload-generator"), false),
        ] {
            assert_eq!(filter.matches(&web), expected, "{filter:?}");
        }
    }

    #[test]
    fn fingerprints_of_different_filters_differ() {
        let filters = [
            filter("", "", "", ""),
            filter("a", "", "", ""),
            filter("", "a", "", ""),
            filter("", "", "a", ""),
            filter("", "", "", "a"),
            with_fields("metadata.name=a"),
        ];
        let prints: std::collections::HashSet<u64> = filters.iter().map(Filter::fingerprint).collect();
        assert_eq!(prints.len(), filters.len());
        assert_eq!(filter("", "", "", "a=b").fingerprint(), filter("", "", "", "a in (b)").fingerprint());
    }
}
