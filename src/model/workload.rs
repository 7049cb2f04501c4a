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
    WorkloadName, WorkloadRecord, ZONE_LABEL, ZoneName,
};

/// The explanation that rejected writes to Workloads return.
pub const MANAGED: &str = "Workloads are managed automatically: one exists while a registered dataplane carries its name in \
     the label kuma.io/workload. Change the dataplanes instead.";

/// Identifies a Workload. The mesh is no part of the key, because a name belongs to one mesh
/// within a namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WorkloadKey {
    /// The namespace of its dataplanes.
    pub namespace: Namespace,
    /// The name that its dataplanes carry.
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

/// Numbers of dataplanes. Always `healthy <= connected <= total`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Dataplanes with a live session.
    pub connected: u32,
    /// Connected dataplanes that are reported healthy.
    pub healthy: u32,
    /// Registered dataplanes, connected or not.
    pub total: u32,
}

/// What all dataplanes of a Workload share; a field is none if they differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkloadTraits {
    /// The environment.
    pub environment: Option<Environment>,
    /// The zone.
    pub zone: Option<ZoneName>,
}

/// The fields of a Workload that no change of its counts changes. All but the labels stay the
/// same from its creation to its deletion; states with the same labels share one identity.
#[derive(Debug)]
pub struct WorkloadIdentity {
    /// The Workload's key.
    pub key: WorkloadKey,
    /// The mesh that holds it.
    pub mesh: MeshName,
    /// Unique; a Workload that is deleted and created again gets a new one.
    pub uid: Uuid,
    /// The labels that Kuma sets, as far as all dataplanes of the Workload agree: the mesh, the
    /// manager and the environment, and the zone.
    pub labels: Labels,
    /// When the Workload was created.
    pub creation_time: SystemTime,
    /// The encoded message, made for the first reader that needs it.
    encoded: OnceLock<Bytes>,
}

impl WorkloadIdentity {
    /// Creates a Workload with a new uid.
    pub fn new(key: WorkloadKey, mesh: MeshName, traits: &WorkloadTraits, now: SystemTime) -> Self {
        let labels = labels(&mesh, traits);
        Self { key, mesh, uid: Uuid::new_v4(), labels, creation_time: now, encoded: OnceLock::new() }
    }

    /// Returns the identity of a Workload that was created before a restart.
    pub fn restored(record: WorkloadRecord, traits: &WorkloadTraits) -> Self {
        let WorkloadRecord { key, mesh, uid, creation_time } = record;
        let labels = labels(&mesh, traits);
        Self { key, mesh, uid, labels, creation_time, encoded: OnceLock::new() }
    }

    /// Returns the identity of the same Workload with other traits.
    #[must_use]
    pub fn relabelled(&self, traits: &WorkloadTraits) -> Self {
        Self {
            key: self.key.clone(),
            mesh: self.mesh.clone(),
            uid: self.uid,
            labels: labels(&self.mesh, traits),
            creation_time: self.creation_time,
            encoded: OnceLock::new(),
        }
    }

    /// Returns the encoded message. The first call makes it with `encode`, later ones share it.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> &Bytes {
        self.encoded.get_or_init(|| encode(self))
    }
}

fn labels(mesh: &MeshName, WorkloadTraits { environment, zone }: &WorkloadTraits) -> Labels {
    let mut labels = vec![(MESH_LABEL, mesh.as_str())];
    match environment {
        Some(Environment::Universal) => {
            labels.extend([(MANAGED_BY_LABEL, "workload-generator"), (ENVIRONMENT_LABEL, "universal")]);
        }
        Some(Environment::Kubernetes) => labels.push((MANAGED_BY_LABEL, "k8s-controller")),
        None => {}
    }
    labels.extend(zone.iter().map(|zone| (ZONE_LABEL, zone.as_str())));
    Labels::from_trusted(labels)
}

/// A Workload at one revision. It is immutable, so all readers share it.
#[derive(Debug)]
pub struct Workload {
    /// The fields that no change of the counts changes.
    pub identity: Arc<WorkloadIdentity>,
    /// The revision of this state.
    pub revision: u64,
    /// The counts at this revision.
    pub counts: Counts,
    /// When the counts last changed.
    pub last_transition_time: SystemTime,
    /// The encoded message, made for the first reader that needs it.
    encoded: OnceLock<Bytes>,
}

impl Workload {
    /// Creates a state without a revision; the change log assigns one.
    pub fn draft(identity: Arc<WorkloadIdentity>, counts: Counts, now: SystemTime) -> Self {
        Self { identity, revision: 0, counts, last_transition_time: now, encoded: OnceLock::new() }
    }

    /// Returns the same state with a revision.
    #[must_use]
    pub fn stamped(self, revision: u64) -> Self {
        Self { revision, ..self }
    }

    /// Returns the Workload's key.
    pub fn key(&self) -> &WorkloadKey {
        &self.identity.key
    }

    /// Returns the encoded message. The first call makes it with `encode`, later ones share it.
    pub fn encoded(&self, encode: impl FnOnce(&Self) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
}
