//! Workloads.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    ENVIRONMENT_LABEL, Environment, Invalid, Labels, MANAGED_BY_LABEL, MESH_LABEL, MeshName, Namespace,
    WorkloadName, ZONE_LABEL, ZoneName,
};

/// What whoever wants to write one should know.
pub const MANAGED: &str = "Workloads are managed automatically: one exists while a registered dataplane carries its name in \
     the label kuma.io/workload. Change the dataplanes instead.";

/// Identifies a Workload. Its mesh is no part of it: within a namespace a name
/// belongs to one mesh.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkloadKey {
    /// Where its dataplanes are.
    pub namespace: Namespace,
    /// What they name.
    pub name: WorkloadName,
}

impl WorkloadKey {
    /// Parses a key that a reader asks for. By Kubernetes' rule for names, the wider one:
    /// a reader may ask for any name that could exist.
    ///
    /// # Errors
    ///
    /// [`Invalid`] with the field `namespace` or `name`.
    pub fn parse(namespace: &str, name: &str) -> Result<Self, Invalid> {
        Ok(Self {
            namespace: Namespace::parse("namespace", namespace)?,
            name: WorkloadName::parse_kubernetes("name", name)?,
        })
    }
}

impl fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How many dataplanes. Always `healthy <= connected <= total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// With a live session.
    pub connected: u32,
    /// Connected, and reported healthy.
    pub healthy: u32,
    /// Registered.
    pub total: u32,
}

/// What stays the same through the life of a Workload.
#[derive(Debug)]
pub struct WorkloadIdentity {
    /// Its key.
    pub key: WorkloadKey,
    /// The mesh that holds it.
    pub mesh: MeshName,
    /// New for each life.
    pub uid: Uuid,
    /// See [`WorkloadIdentity::new`].
    pub labels: Labels,
    /// When it came to be.
    pub creation_time: SystemTime,
    /// Made by the first reader who needs it.
    encoded: OnceLock<Bytes>,
}

impl WorkloadIdentity {
    /// A new life of a Workload. It gets the labels that Kuma gives it: mesh
    /// and manager everywhere, the environment on Universal; and the zone, if
    /// the dataplane that founds it names one.
    pub fn new(
        key: WorkloadKey,
        mesh: MeshName,
        environment: Environment,
        zone: Option<&ZoneName>,
        now: SystemTime,
    ) -> Self {
        let mut labels = vec![(MESH_LABEL, mesh.as_str())];
        match environment {
            Environment::Universal => {
                labels.extend([(MANAGED_BY_LABEL, "workload-generator"), (ENVIRONMENT_LABEL, "universal")]);
            }
            Environment::Kubernetes => labels.push((MANAGED_BY_LABEL, "k8s-controller")),
        }
        labels.extend(zone.map(|zone| (ZONE_LABEL, zone.as_str())));
        let labels = Labels::from_trusted(labels);
        let (uid, encoded) = (Uuid::new_v4(), OnceLock::new());
        Self { key, mesh, uid, labels, creation_time: now, encoded }
    }

    /// Its encoding, made by `encode` the first time and shared from then on.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(self))
    }
}

/// A Workload as it was at one revision. Never changes, so all readers share it.
#[derive(Debug)]
pub struct Workload {
    /// Who it is.
    pub identity: Arc<WorkloadIdentity>,
    /// The revision that made it so.
    pub revision: u64,
    /// The numbers.
    pub counts: Counts,
    /// When the numbers became so.
    pub last_transition_time: SystemTime,
    /// Made by the first reader who needs it.
    encoded: OnceLock<Bytes>,
}

impl Workload {
    /// A state that has no revision yet; the change log gives it one.
    pub fn draft(identity: Arc<WorkloadIdentity>, counts: Counts, now: SystemTime) -> Self {
        Self { identity, revision: 0, counts, last_transition_time: now, encoded: OnceLock::new() }
    }

    /// The same state with its revision.
    #[must_use]
    pub fn stamped(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// Its key.
    pub fn key(&self) -> &WorkloadKey {
        &self.identity.key
    }

    /// Its encoding, made by `encode` the first time and shared from then on.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
}
