//! Which `MeshIdentity` a dataplane has, and the SPIFFE ID that it gives.

use std::cmp::Reverse;

use super::{
    MeshIdentity, Selector, SpiffeId, Template, TrustDomain,
    template::{Field, Values},
};
use crate::model::{
    Dataplane, ENVIRONMENT_LABEL, Environment, MESH_LABEL, NAMESPACE_LABEL, Quoted, SERVICE_ACCOUNT_LABEL,
    WORKLOAD_LABEL, WorkloadName, ZONE_LABEL, ZoneName,
};

/// The zone of a dataplane that names none, as in Kuma.
const DEFAULT_ZONE: &str = "default";

/// Why a dataplane that a `MeshIdentity` selects has no SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// The path depends on the workload, and the dataplane has none. The message is Kuma's.
    #[error(
        "missing required label '{WORKLOAD_LABEL}' - dataplane is selected by MeshIdentity '{identity}' with path \
         template '{template}'"
    )]
    NoWorkload {
        /// The name of the `MeshIdentity`.
        identity: String,
        /// The template of the path.
        template: String,
    },
    /// The templates give no SPIFFE ID for this dataplane.
    #[error("MeshIdentity '{identity}' gives the dataplane no SPIFFE ID: {problem}")]
    Invalid {
        /// The name of the `MeshIdentity`.
        identity: String,
        /// Why.
        problem: String,
    },
}

/// Returns the `MeshIdentity` that a dataplane has, of those of its mesh: the one with the most labels in its
/// selector, of several the one with the smallest name.
pub fn select<'a>(
    identities: impl IntoIterator<Item = &'a MeshIdentity>,
    dataplane: &Dataplane,
) -> Option<&'a MeshIdentity> {
    let matching = identities.into_iter().filter_map(|identity| {
        let labels = identity.selects(dataplane)?;
        Some((Reverse(labels), &identity.key.name, &identity.key.namespace, identity))
    });
    matching.min_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2))).map(|(.., identity)| identity)
}

impl MeshIdentity {
    /// The number of labels in the selector, if it selects the dataplane.
    fn selects(&self, dataplane: &Dataplane) -> Option<usize> {
        let Selector::MatchLabels(required) = &self.spec.selector else { return None };
        let matches = |(key, value)| label(dataplane, key) == Some(value);
        (self.mesh == dataplane.key.mesh && required.iter().all(matches)).then(|| required.iter().count())
    }

    /// Whether the SPIFFE ID of a dataplane of this environment depends on its workload.
    pub fn uses_workload(&self, environment: Environment) -> bool {
        let of_path = match &self.spec.path {
            Some(path) => path.uses_workload(),
            None => default_path(environment).1,
        };
        of_path || self.spec.trust_domain.as_ref().is_some_and(Template::uses_workload)
    }

    /// Returns the SPIFFE ID of a dataplane that this `MeshIdentity` selects.
    ///
    /// # Errors
    ///
    /// If the dataplane has no workload or label that a template requires, or if the rendered text is no
    /// SPIFFE ID.
    pub fn identify(&self, dataplane: &Dataplane) -> Result<SpiffeId, Unidentified> {
        let environment = dataplane.environment;
        if dataplane.workload.is_none() && self.uses_workload(environment) {
            let template = match &self.spec.path {
                Some(path) => path.source(),
                None => default_path(environment).0,
            };
            return Err(Unidentified::NoWorkload {
                identity: self.key.name.to_string(),
                template: template.to_owned(),
            });
        }
        let invalid = |problem| Unidentified::Invalid { identity: self.key.name.to_string(), problem };
        let zone = dataplane.zone.as_ref().map_or(DEFAULT_ZONE, ZoneName::as_str);
        let trust_domain = self.trust_domain(zone).map_err(invalid)?;
        let values = PathValues { dataplane, trust_domain: &trust_domain };
        let path = match &self.spec.path {
            Some(path) => path.render(&values).map_err(|key| invalid(format!("label {key} not found")))?,
            None => values.default_path(),
        };
        let parsed = SpiffeId::new(trust_domain.clone(), &path);
        parsed.map_err(|problem| {
            let id = format!("spiffe://{trust_domain}{path}");
            invalid(format!("failed to parse SPIFFE ID {}: {problem}", Quoted(&id)))
        })
    }
}

/// The template of a path that is not set, and whether it depends on the workload.
fn default_path(environment: Environment) -> (&'static str, bool) {
    match environment {
        Environment::Universal => ("/workload/{{ .Workload }}", true),
        Environment::Kubernetes => ("/ns/{{ .Namespace }}/sa/{{ .ServiceAccount }}", false),
    }
}

/// The labels of a dataplane, with those that Kuma computes.
fn label<'a>(dataplane: &'a Dataplane, key: &str) -> Option<&'a str> {
    match key {
        WORKLOAD_LABEL => dataplane.workload.as_ref().map(WorkloadName::as_str),
        MESH_LABEL => Some(dataplane.key.mesh.as_str()),
        ZONE_LABEL => dataplane.zone.as_ref().map(ZoneName::as_str),
        ENVIRONMENT_LABEL => Some(dataplane.environment.as_str()),
        NAMESPACE_LABEL if dataplane.environment == Environment::Kubernetes => {
            Some(dataplane.key.namespace.as_str())
        }
        _ => dataplane.labels.get(key),
    }
}

/// The values for the template of a path.
struct PathValues<'a> {
    dataplane: &'a Dataplane,
    trust_domain: &'a TrustDomain,
}

impl PathValues<'_> {
    fn default_path(&self) -> String {
        match self.dataplane.environment {
            Environment::Universal => format!("/workload/{}", self.field(Field::Workload)),
            Environment::Kubernetes => {
                format!("/ns/{}/sa/{}", self.field(Field::Namespace), self.field(Field::ServiceAccount))
            }
        }
    }
}

impl Values for PathValues<'_> {
    fn field(&self, field: Field) -> &str {
        let key = match field {
            Field::TrustDomain => return self.trust_domain.as_str(),
            Field::Namespace => NAMESPACE_LABEL,
            Field::ServiceAccount => SERVICE_ACCOUNT_LABEL,
            Field::Workload => WORKLOAD_LABEL,
            // Not in the scope of a path.
            Field::Mesh | Field::Zone => return "",
        };
        self.label(key).unwrap_or_default()
    }

    fn label(&self, key: &str) -> Option<&str> {
        label(self.dataplane, key)
    }
}

#[cfg(test)]
mod tests;
