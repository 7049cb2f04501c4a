//! Filters of Workloads.

use super::{FieldSelector, LabelSelector, MeshName, Namespace, Workload, WorkloadName};

/// The field selector name of a Workload's name.
pub const NAME_FIELD: &str = "metadata.name";
/// The field selector name of a Workload's namespace.
pub const NAMESPACE_FIELD: &str = "metadata.namespace";

/// Selects Workloads; every criterion that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
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

/// The name of a Workload, in one namespace or in any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExactName {
    /// The name.
    pub name: WorkloadName,
    /// None if the namespace does not matter.
    pub namespace: Option<Namespace>,
}

impl Filter {
    /// The only name that can match, if the filter requires one.
    pub fn exact_name(&self) -> Option<ExactName> {
        let required = |field| self.fields.required(field);
        let name = || WorkloadName::parse_kubernetes(NAME_FIELD, required(NAME_FIELD)?).ok();
        let namespace = || Namespace::parse(NAMESPACE_FIELD, required(NAMESPACE_FIELD)?).ok();
        Some(ExactName {
            name: self.name.clone().or_else(name)?,
            namespace: self.namespace.clone().or_else(namespace),
        })
    }

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
    fn a_name_is_exact_whichever_way_it_is_required() {
        let exact = |filter: &Filter| {
            let ExactName { name, namespace } = filter.exact_name()?;
            Some((name.as_str().to_owned(), namespace.map(|namespace| namespace.as_str().to_owned())))
        };
        let web_in = |namespace: Option<&str>| Some(("web".to_owned(), namespace.map(str::to_owned)));
        for (filter, expected) in [
            (filter("", "", "web", ""), web_in(None)),
            (filter("default", "shop", "web", "a=b"), web_in(Some("shop"))),
            (with_fields("metadata.name=web"), web_in(None)),
            (with_fields("metadata.namespace==shop,metadata.name=web"), web_in(Some("shop"))),
            (
                Filter { fields: with_fields("metadata.name=web").fields, ..filter("", "shop", "", "") },
                web_in(Some("shop")),
            ),
            (filter("default", "shop", "", "a=b"), None),
            (with_fields("metadata.name!=web,metadata.namespace=shop"), None),
            (with_fields("metadata.name=no name of a Workload"), None),
        ] {
            assert_eq!(exact(&filter), expected, "{filter:?}");
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
