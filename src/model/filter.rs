//! Which Workloads a reader wants to see.

use super::{FieldSelector, LabelSelector, MeshName, Namespace, Workload, WorkloadName};

/// The field of a Workload's name, as Kubernetes' field selectors call it.
pub const NAME_FIELD: &str = "metadata.name";
/// The field of its namespace.
pub const NAMESPACE_FIELD: &str = "metadata.namespace";

/// All that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The mesh that holds the Workload.
    pub mesh: Option<MeshName>,
    /// Its namespace.
    pub namespace: Option<Namespace>,
    /// Its name.
    pub name: Option<WorkloadName>,
    /// On its labels.
    pub selector: LabelSelector,
    /// On [`NAME_FIELD`] and [`NAMESPACE_FIELD`].
    pub fields: FieldSelector,
}

impl Filter {
    /// Whether a Workload is wanted.
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

    /// A number that tells filters apart, the same in every build: a token made
    /// for one filter says nothing about what another has seen.
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

/// FNV-1a, 64 bits: stable across builds, which the standard library's hasher
/// does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::model::{Counts, Environment, WorkloadIdentity, WorkloadKey};

    fn workload(mesh: &str, namespace: &str, name: &str) -> Workload {
        let key = WorkloadKey {
            namespace: Namespace::parse("", namespace).unwrap(),
            name: WorkloadName::parse_universal("", name).unwrap(),
        };
        let mesh = MeshName::parse("", mesh).unwrap();
        let identity = WorkloadIdentity::new(key, mesh, Environment::Universal, None, SystemTime::UNIX_EPOCH);
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
    fn fields_are_the_name_and_the_namespace() {
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
    fn all_that_is_set_must_match() {
        let web = workload("default", "shop", "web");
        for (yes, expected) in [
            (filter("", "", "", ""), true),
            (filter("default", "shop", "web", "kuma.io/mesh=default"), true),
            (filter("other", "", "", ""), false),
            (filter("", "default", "", ""), false),
            (filter("", "", "api", ""), false),
            (filter("", "", "", "kuma.io/managed-by!=workload-generator"), false),
        ] {
            assert_eq!(yes.matches(&web), expected, "{yes:?}");
        }
    }

    #[test]
    fn fingerprints_tell_filters_apart() {
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
