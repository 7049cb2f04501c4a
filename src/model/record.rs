//! What a server keeps over a restart.

use std::{sync::Arc, time::SystemTime};

use uuid::Uuid;

use super::{Dataplane, MeshName, WorkloadIdentity, WorkloadKey};

/// A registration. Its health is not kept: it is unknown until the next report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationRecord {
    /// The dataplane.
    pub dataplane: Arc<Dataplane>,
    /// When the open session began, or the last one ended.
    pub since: SystemTime,
    /// When the registration of a lost dataplane ends; none while it is connected.
    pub retained_until: Option<SystemTime>,
}

/// What of a Workload does not follow from its dataplanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadRecord {
    /// The Workload's key.
    pub key: WorkloadKey,
    /// The mesh that holds the name.
    pub mesh: MeshName,
    /// Its uid.
    pub uid: Uuid,
    /// When it was created.
    pub creation_time: SystemTime,
}

/// Everything that a server keeps over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// The registrations, each dataplane once.
    pub registrations: Vec<RegistrationRecord>,
    /// The Workloads, each key once.
    pub workloads: Vec<WorkloadRecord>,
}

impl WorkloadRecord {
    /// The record of a Workload.
    pub fn of(identity: &WorkloadIdentity) -> Self {
        Self {
            key: identity.key.clone(),
            mesh: identity.mesh.clone(),
            uid: identity.uid,
            creation_time: identity.creation_time,
        }
    }
}
