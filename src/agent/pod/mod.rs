//! A Kubernetes Pod says what a Dataplane file says elsewhere. Its manifest
//! gives the agent environment variables and, by the downward API, files with
//! the Pod's labels and annotations; Kubernetes' API is never asked.
//!
//! Errors name the variable, label or annotation, and the lines of the manifest
//! that give it.

mod inbound;
mod info;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::model::{
    DEFAULT_MESH, Dataplane, DataplaneLimits, DataplaneSpec, Environment, InboundSpec, Invalid, MESH_LABEL,
    NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL, WORKLOAD_LABEL, ZONE_LABEL, entry,
};

use super::AGENT_VERSION;
pub use inbound::PodInbound;
pub use info::{PodInfo, PodInfoError};

/// What the manifest of a Pod tells its agent. An empty text tells nothing: so
/// does the downward API say that a label is not there.
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
    /// Goes before the Pod's own label and annotation.
    pub mesh: String,
    /// Goes before the Pod's own annotation.
    pub workload: String,
    /// Goes before the Pod's own label; optional.
    pub zone: String,
    /// Its labels and annotations.
    pub info: PodInfo,
    /// The ports of its application.
    pub inbounds: Vec<u16>,
}

/// A text that a message calls by the place it comes from.
struct Told<'a> {
    place: String,
    text: &'a str,
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
    /// The variable with the mesh, for who mounts no file with it.
    pub const MESH: &str = "HEADCOUNT_MESH";
    /// The variable with the workload, for who mounts no file with it.
    pub const WORKLOAD: &str = "HEADCOUNT_WORKLOAD";
    /// The variable with the zone.
    pub const ZONE: &str = "HEADCOUNT_ZONE";

    /// The dataplane that the Pod is, by the rules that the server has as well;
    /// or all that is missing, or the first that is wrong.
    pub fn dataplane(&self) -> Result<Dataplane, Vec<Invalid>> {
        let missing: Vec<_> = [
            self.by_hand(),
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
        let mut labels = self.info.labels.clone().unwrap_or_default();
        labels.insert(WORKLOAD_LABEL.to_owned(), workload.text.to_owned());
        labels.insert(NAMESPACE_LABEL.to_owned(), self.namespace.clone());
        if !self.service_account.is_empty() {
            labels.insert(SERVICE_ACCOUNT_LABEL.to_owned(), self.service_account.clone());
        }
        let spec = DataplaneSpec {
            mesh: mesh.text.to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            zone: zone.text.to_owned(),
            environment: Environment::Kubernetes,
            labels,
            address: self.ip.clone(),
            inbounds: self.inbounds.iter().map(|port| inbound(*port)).collect(),
            agent_version: AGENT_VERSION.to_owned(),
        };
        Dataplane::parse(&spec, DataplaneLimits::default()).map_err(|invalid| {
            let place = match invalid.field.as_str() {
                "name" => Self::NAME.to_owned(),
                "namespace" => Self::NAMESPACE.to_owned(),
                "address" => Self::IP.to_owned(),
                "mesh" => mesh.place,
                "zone" => zone.place,
                field if field == entry("labels", WORKLOAD_LABEL) => workload.place,
                field if field == entry("labels", SERVICE_ACCOUNT_LABEL) => Self::SERVICE_ACCOUNT.to_owned(),
                field => field.to_owned(),
            };
            vec![Invalid { field: place, problem: invalid.problem }]
        })
    }

    /// The label belongs to the control plane. Its webhook refuses such Pods,
    /// where it is installed.
    fn by_hand(&self) -> Option<Invalid> {
        let labels = self.info.labels.as_ref()?;
        labels.contains_key(WORKLOAD_LABEL).then(|| {
            let problem = "is managed automatically: remove it, and set the annotation of this name instead";
            Invalid::new(label(WORKLOAD_LABEL), problem)
        })
    }

    fn workload(&self) -> Result<Told<'_>, Invalid> {
        let annotation = of(self.info.annotations.as_ref(), WORKLOAD_LABEL);
        let told = [
            Told { place: Self::WORKLOAD.to_owned(), text: &self.workload },
            Told { place: self::annotation(WORKLOAD_LABEL), text: annotation },
        ];
        told.into_iter().find(|told| !told.text.is_empty()).ok_or_else(|| {
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

    /// As in Kuma, except that an agent can't see what the namespace says.
    fn mesh(&self) -> Told<'_> {
        let told = [
            Told { place: Self::MESH.to_owned(), text: &self.mesh },
            Told { place: label(MESH_LABEL), text: of(self.info.labels.as_ref(), MESH_LABEL) },
            Told { place: annotation(MESH_LABEL), text: of(self.info.annotations.as_ref(), MESH_LABEL) },
        ];
        let told = told.into_iter().find(|told| !told.text.is_empty());
        told.unwrap_or_else(|| Told { place: Self::MESH.to_owned(), text: DEFAULT_MESH })
    }

    fn zone(&self) -> Told<'_> {
        match self.zone.as_str() {
            "" => Told { place: label(ZONE_LABEL), text: of(self.info.labels.as_ref(), ZONE_LABEL) },
            zone => Told { place: Self::ZONE.to_owned(), text: zone },
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

fn of<'a>(map: Option<&'a BTreeMap<String, String>>, key: &str) -> &'a str {
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
