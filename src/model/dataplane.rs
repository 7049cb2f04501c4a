//! Dataplane proxies.

mod owned;
mod parse;
mod size;
mod spec;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub(crate) use self::size::shared_allocation;
pub use self::{
    parse::MAX_AGENT_VERSION,
    spec::{DataplaneLimits, DataplaneSpec, InboundSpec},
};
use super::{
    DataplaneName, ENVIRONMENT_LABEL, Labels, MeshName, Namespace, WorkloadKey, WorkloadName, ZoneName,
    entry,
    shared::{share, share_all},
};

/// Identifies a dataplane.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DataplaneKey {
    /// The mesh.
    pub mesh: MeshName,
    /// The namespace.
    pub namespace: Namespace,
    /// The name, unique within the mesh and namespace.
    pub name: DataplaneName,
}

impl fmt::Display for DataplaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.mesh, self.namespace, self.name)
    }
}

/// The environment that a dataplane runs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Environment {
    /// Anywhere but Kubernetes.
    #[default]
    Universal,
    /// A Kubernetes Pod.
    Kubernetes,
}

/// A port of the application behind a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// The port, never 0.
    pub port: u16,
    /// A name for people; may be empty.
    pub name: Arc<str>,
    /// Tags, valid by Kuma's rules.
    pub tags: Labels,
}

/// A valid dataplane proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataplane {
    /// The dataplane's identity.
    pub key: DataplaneKey,
    /// The zone, if the dataplane names one.
    pub zone: Option<ZoneName>,
    /// The environment that it runs in.
    pub environment: Environment,
    /// Labels as the proxy sent them.
    pub labels: Labels,
    /// The address as the proxy sent it; may be empty.
    pub address: Box<str>,
    /// At most [`Health::MAX_INBOUNDS`](super::Health::MAX_INBOUNDS), with distinct ports.
    pub inbounds: Arc<[Inbound]>,
    /// The workload that a label or a tag names, if any.
    pub workload: Option<WorkloadName>,
    /// Version of the agent or Envoy that represents the dataplane; may be empty.
    pub agent_version: Arc<str>,
}

impl Environment {
    /// The value of the label `kuma.io/env`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Universal => "universal",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// The environment of a dataplane that only states labels: that of `kuma.io/env`, by default
    /// Universal. [`Dataplane::parse`] rejects any other value of the label.
    pub fn of_labels(labels: &BTreeMap<String, String>) -> Self {
        match labels.get(ENVIRONMENT_LABEL).map(String::as_str) {
            Some("kubernetes") => Self::Kubernetes,
            _ => Self::Universal,
        }
    }
}

impl Dataplane {
    /// Warnings for the operator about keys of labels and tags that are probably misspelt.
    pub fn warnings(&self) -> Vec<String> {
        let labels = self.labels.iter().map(|(key, _)| ("labels".to_owned(), key));
        let tags = self.inbounds.iter().enumerate().flat_map(|(index, inbound)| {
            inbound.tags.iter().map(move |(key, _)| (format!("inbounds[{index}].tags"), key))
        });
        let warning = |(field, key): (String, &str)| {
            let meant = owned::meant_label(key)?;
            Some(format!("{}: is not a label of Kuma: did you mean {meant}?", entry(&field, key)))
        };
        labels.chain(tags).filter_map(warning).collect()
    }

    /// Returns the key of the Workload that the dataplane belongs to, if any.
    pub fn workload_key(&self) -> Option<WorkloadKey> {
        let name = self.workload.clone()?;
        Some(WorkloadKey { namespace: self.key.namespace.clone(), name })
    }

    /// Deduplicates memory: replaces every part that equals the same part of `other` by a shared
    /// pointer to it. Replicas of one workload differ in little but their names.
    pub fn share(&mut self, other: &Self) {
        share(&mut self.key.mesh, &other.key.mesh);
        share(&mut self.key.namespace, &other.key.namespace);
        share(&mut self.zone, &other.zone);
        share(&mut self.workload, &other.workload);
        share(&mut self.agent_version, &other.agent_version);
        self.labels.share(&other.labels);
        share_all(&mut self.inbounds, &other.inbounds, |inbound, others| {
            if let Some(other) = others.iter().find(|other| other.port == inbound.port) {
                share(&mut inbound.name, &other.name);
                inbound.tags.share(&other.tags);
            }
        });
    }

    /// Returns the index of the inbound with this port.
    pub fn inbound_index(&self, port: u32) -> Option<usize> {
        self.inbounds.iter().position(|inbound| u32::from(inbound.port) == port)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::WORKLOAD_LABEL;

    #[test]
    fn sharing_deduplicates_equal_parts_and_changes_no_value() {
        let replica = |name: &str, version: &str| {
            let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let tags = BTreeMap::from([label(WORKLOAD_LABEL, "web")]);
            let spec = DataplaneSpec {
                mesh: "default".into(),
                name: name.into(),
                labels: BTreeMap::from([label(WORKLOAD_LABEL, "web"), label("version", version)]),
                inbounds: vec![
                    InboundSpec { port: 80, tags, ..InboundSpec::default() },
                    InboundSpec { port: 81, ..InboundSpec::default() },
                ],
                ..DataplaneSpec::default()
            };
            Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
        };
        let first = replica("a", "1");
        let (mut same, mut different) = (replica("b", "1"), replica("c", "2"));
        same.share(&first);
        different.share(&first);
        assert_eq!((&same, &different), (&replica("b", "1"), &replica("c", "2")));

        let at = |text: &str| text.as_ptr();
        let label = |dataplane: &Dataplane, key: &str| at(dataplane.labels.get(key).unwrap());
        assert!(Arc::ptr_eq(&same.inbounds, &first.inbounds));
        assert_eq!(at(same.key.mesh.as_str()), at(first.key.mesh.as_str()));
        assert_eq!(label(&same, "version"), label(&first, "version"));
        assert_eq!(label(&different, WORKLOAD_LABEL), label(&first, WORKLOAD_LABEL));
        assert_ne!(label(&different, "version"), label(&first, "version"));
    }
}
