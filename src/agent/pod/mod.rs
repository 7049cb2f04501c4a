//! Describes a Kubernetes Pod as a dataplane, without a Dataplane file.
//!
//! The input is what the Pod's manifest provides: environment variables and, through the downward API,
//! files with the Pod's labels and annotations. The agent does not call the Kubernetes API.
//!
//! Errors name the variable, label or annotation, and the lines to add to the manifest.

mod inbound;
mod info;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::model::{
    DEFAULT_MESH, DISPLAY_NAME_LABEL, Dataplane, DataplaneLimits, DataplaneSpec, ENVIRONMENT_LABEL,
    Environment, InboundSpec, Invalid, MESH_LABEL, NAMESPACE_LABEL, ORIGIN_LABEL, SERVICE_ACCOUNT_LABEL,
    WORKLOAD_LABEL, ZONE_LABEL, entry,
};

use super::AGENT_VERSION;
pub use inbound::PodInbound;
pub use info::{PodInfo, PodInfoError};

/// What the manifest of a Pod provides to the agent. Empty means not given: the downward API sets a
/// variable to the empty string when its label does not exist.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// [`Self::NAME`].
    pub name: String,
    /// [`Self::NAMESPACE`].
    pub namespace: String,
    /// [`Self::IP`]; optional.
    pub ip: String,
    /// [`Self::SERVICE_ACCOUNT`]; optional.
    pub service_account: String,
    /// [`Self::MESH`]; overrides the label and the annotation `kuma.io/mesh`; optional.
    pub mesh: String,
    /// [`Self::WORKLOAD`]; overrides the annotation `kuma.io/workload`.
    pub workload: String,
    /// [`Self::ZONE`]; overrides the label `kuma.io/zone`; optional.
    pub zone: String,
    /// Labels and annotations of the Pod.
    pub info: PodInfo,
    /// Ports of the application; empty for a gateway.
    pub inbounds: Vec<u16>,
}

/// A value and the name of its source, for error messages.
struct Sourced<'a> {
    source: String,
    value: &'a str,
}

impl Pod {
    /// The variable with `metadata.name`.
    pub const NAME: &str = "POD_NAME";
    /// The variable with `metadata.namespace`.
    pub const NAMESPACE: &str = "POD_NAMESPACE";
    /// The variable with `status.podIP`.
    pub const IP: &str = "POD_IP";
    /// The variable with `spec.serviceAccountName`.
    pub const SERVICE_ACCOUNT: &str = "SERVICE_ACCOUNT";
    /// The variable with the mesh, for a Pod without the downward API volume.
    pub const MESH: &str = "HEADCOUNT_MESH";
    /// The variable with the workload, for a Pod without the downward API volume.
    pub const WORKLOAD: &str = "HEADCOUNT_WORKLOAD";
    /// The variable with the zone.
    pub const ZONE: &str = "HEADCOUNT_ZONE";

    /// Returns the dataplane of the Pod, validated by the same rules as the server.
    ///
    /// # Errors
    ///
    /// All required values that are missing; or else the first value that is invalid.
    pub fn dataplane(&self) -> Result<Dataplane, Vec<Invalid>> {
        let missing: Vec<_> = [
            self.reserved_label(),
            missing(Self::NAME, &self.name, "metadata.name"),
            missing(Self::NAMESPACE, &self.namespace, "metadata.namespace"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let (workload, mesh, zone) = (self.workload(), self.mesh(), self.zone());
        let workload = match (workload, missing.is_empty()) {
            (Ok(workload), true) => workload,
            (workload, _) => return Err(missing.into_iter().chain(workload.err()).collect()),
        };
        let labels = self.labels(workload.value, mesh.value, zone.value);
        let spec = DataplaneSpec {
            mesh: mesh.value.to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            zone: zone.value.to_owned(),
            environment: Environment::Kubernetes,
            labels,
            address: self.ip.clone(),
            inbounds: self.inbounds.iter().map(|port| inbound(*port)).collect(),
            agent_version: AGENT_VERSION.to_owned(),
        };
        Dataplane::parse(&spec, DataplaneLimits::PROTOCOL).map_err(|invalid| {
            let source = match invalid.field.as_str() {
                "name" => Self::NAME.to_owned(),
                "namespace" => Self::NAMESPACE.to_owned(),
                "address" => Self::IP.to_owned(),
                "mesh" => mesh.source,
                "zone" => zone.source,
                field if field == entry("labels", WORKLOAD_LABEL) => workload.source,
                field if field == entry("labels", SERVICE_ACCOUNT_LABEL) => Self::SERVICE_ACCOUNT.to_owned(),
                field => field.to_owned(),
            };
            vec![Invalid { field: source, problem: invalid.problem }]
        })
    }

    /// The labels of the dataplane: the Pod's, except those that Kuma's control plane computes. A Pod
    /// may not claim these for itself.
    fn labels(&self, workload: &str, mesh: &str, zone: &str) -> BTreeMap<String, String> {
        let mut labels = self.info.labels.clone().unwrap_or_default();
        let of_pod = [MESH_LABEL, ZONE_LABEL].map(|label| labels.contains_key(label));
        let computed = [
            (WORKLOAD_LABEL, workload),
            (NAMESPACE_LABEL, self.namespace.as_str()),
            (SERVICE_ACCOUNT_LABEL, self.service_account.as_str()),
            (MESH_LABEL, if of_pod[0] { mesh } else { "" }),
            (ZONE_LABEL, if of_pod[1] { zone } else { "" }),
            (ENVIRONMENT_LABEL, ""),
            (DISPLAY_NAME_LABEL, ""),
            (ORIGIN_LABEL, ""),
        ];
        for (label, value) in computed {
            if value.is_empty() {
                labels.remove(label);
            } else {
                labels.insert(label.to_owned(), value.to_owned());
            }
        }
        labels
    }

    /// Rejects the label `kuma.io/workload`: it belongs to the control plane, whose admission webhook
    /// rejects such Pods too, where it is installed.
    fn reserved_label(&self) -> Option<Invalid> {
        let labels = self.info.labels.as_ref()?;
        labels.contains_key(WORKLOAD_LABEL).then(|| {
            let problem = "is managed automatically: remove it, and set the annotation of this name instead";
            Invalid::new(label(WORKLOAD_LABEL), problem)
        })
    }

    fn workload(&self) -> Result<Sourced<'_>, Invalid> {
        let annotation = value_of(self.info.annotations.as_ref(), WORKLOAD_LABEL);
        let candidates = [
            Sourced { source: Self::WORKLOAD.to_owned(), value: &self.workload },
            Sourced { source: self::annotation(WORKLOAD_LABEL), value: annotation },
        ];
        candidates.into_iter().find(|candidate| !candidate.value.is_empty()).ok_or_else(|| {
            let problem = if self.info.annotations.is_some() {
                "is not on the Pod: set it in the Pod template, or let headcount's admission webhook write it"
                    .to_owned()
            } else {
                format!(
                    "is not known: mount a downwardAPI volume with {{path: annotations, fieldRef: {{fieldPath: metadata.annotations}}}} \
                     into the directory that --podinfo-dir names, or set {} from {{fieldRef: {{fieldPath: \"metadata.annotations['{WORKLOAD_LABEL}']\"}}}}",
                    Self::WORKLOAD
                )
            };
            Invalid::new(self::annotation(WORKLOAD_LABEL), problem)
        })
    }

    /// As in Kuma, except that the agent can't read the labels and annotations of the namespace.
    fn mesh(&self) -> Sourced<'_> {
        let candidates = [
            Sourced { source: Self::MESH.to_owned(), value: &self.mesh },
            Sourced { source: label(MESH_LABEL), value: value_of(self.info.labels.as_ref(), MESH_LABEL) },
            Sourced {
                source: annotation(MESH_LABEL),
                value: value_of(self.info.annotations.as_ref(), MESH_LABEL),
            },
        ];
        let given = candidates.into_iter().find(|candidate| !candidate.value.is_empty());
        given.unwrap_or_else(|| Sourced { source: Self::MESH.to_owned(), value: DEFAULT_MESH })
    }

    fn zone(&self) -> Sourced<'_> {
        match self.zone.as_str() {
            "" => {
                Sourced { source: label(ZONE_LABEL), value: value_of(self.info.labels.as_ref(), ZONE_LABEL) }
            }
            zone => Sourced { source: Self::ZONE.to_owned(), value: zone },
        }
    }
}

fn missing(variable: &str, value: &str, path: &str) -> Option<Invalid> {
    value.is_empty().then(|| {
        let problem = format!(
            "is missing: the manifest gives it by env: {{name: {variable}, valueFrom: {{fieldRef: {{fieldPath: {path}}}}}}}"
        );
        Invalid::new(variable, problem)
    })
}

fn value_of<'a>(map: Option<&'a BTreeMap<String, String>>, key: &str) -> &'a str {
    map.and_then(|map| map.get(key)).map_or("", String::as_str)
}

fn label(key: &str) -> String {
    format!("the label {key}")
}

fn annotation(key: &str) -> String {
    format!("the annotation {key}")
}

fn inbound(port: u16) -> InboundSpec {
    InboundSpec { port: port.into(), ..InboundSpec::default() }
}
