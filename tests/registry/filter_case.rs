//! Filters with a second definition of what each one matches.

use headcount::model::{Filter, MeshName, Namespace, Workload, WorkloadName, ZONE_LABEL};

use crate::domain::Name;

type Matches = fn(Attributes) -> bool;

/// Label selectors, and what each one matches.
const SELECTORS: [(&str, Matches); 6] = [
    ("", |_| true),
    ("kuma.io/mesh in (a,b)", |of| ["a", "b"].contains(&of.mesh)),
    ("kuma.io/mesh!=a", |of| of.mesh != "a"),
    ("kuma.io/zone=east", |of| of.zone == Some("east")),
    ("!kuma.io/zone,kuma.io/managed-by", |of| of.zone.is_none() && of.kubernetes.is_some()),
    ("kuma.io/env", |of| of.kubernetes == Some(false)),
];

/// Number of selectors.
pub(crate) const SELECTOR_COUNT: usize = SELECTORS.len();

/// The attributes of a Workload that filters examine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attributes<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) mesh: &'a str,
    pub(crate) zone: Option<&'a str>,
    /// None if it has dataplanes of both environments.
    pub(crate) kubernetes: Option<bool>,
}

impl<'a> From<&'a Workload> for Attributes<'a> {
    fn from(workload: &'a Workload) -> Self {
        let identity = &workload.identity;
        Self {
            namespace: identity.key.namespace.as_str(),
            name: identity.key.name.as_str(),
            mesh: identity.mesh.as_str(),
            zone: identity.labels.get(ZONE_LABEL),
            kubernetes: identity.labels.get("kuma.io/managed-by").map(|manager| manager == "k8s-controller"),
        }
    }
}

/// A filter of a watch or a listing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FilterCase {
    pub(crate) mesh: Option<Name>,
    pub(crate) namespace: Option<Name>,
    pub(crate) name: Option<Name>,
    /// Less than [`SELECTOR_COUNT`].
    pub(crate) selector: usize,
}

impl FilterCase {
    /// The filter that matches everything.
    pub(crate) fn all() -> Self {
        Self::default()
    }

    pub(crate) fn is_all(self) -> bool {
        self.mesh.is_none() && self.namespace.is_none() && self.name.is_none() && self.selector == 0
    }

    /// The filter as the registry takes it.
    pub(crate) fn filter(self) -> Filter {
        Filter {
            mesh: self.mesh.map(|mesh| MeshName::parse("mesh", mesh).expect("valid")),
            namespace: self
                .namespace
                .map(|namespace| Namespace::parse("namespace", namespace).expect("valid")),
            name: self.name.map(|name| WorkloadName::parse_universal("name", name).expect("valid")),
            selector: SELECTORS[self.selector].0.parse().expect("valid"),
            ..Filter::default()
        }
    }

    /// What the model expects the filter to match.
    pub(crate) fn matches<'a>(self, of: impl Into<Attributes<'a>>) -> bool {
        let of = of.into();
        self.mesh.is_none_or(|mesh| mesh == of.mesh)
            && self.namespace.is_none_or(|namespace| namespace == of.namespace)
            && self.name.is_none_or(|name| name == of.name)
            && SELECTORS[self.selector].1(of)
    }
}
