//! Conversion of the records that a server stores. What is read is validated as a hello is, but
//! for the limits of the server, which may have been lowered since.

use std::{sync::Arc, time::SystemTime};

use prost::{DecodeError, Message as _};
use uuid::Uuid;

use super::{label_map, timestamp};
use crate::{
    model::{
        Dataplane, DataplaneLimits, DataplaneSpec, Environment, InboundSpec, Invalid, MeshName,
        RegistrationRecord, WorkloadKey, WorkloadRecord,
    },
    proto::store,
};

/// Converts a registration. Its key names the dataplane, so the message does not.
pub fn registration_to_store(record: &RegistrationRecord) -> store::Registration {
    let dataplane = &record.dataplane;
    let environment = match dataplane.environment {
        Environment::Universal => store::Environment::Universal,
        Environment::Kubernetes => store::Environment::Kubernetes,
    };
    store::Registration {
        zone: dataplane.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        environment: environment.into(),
        labels: label_map(&dataplane.labels),
        address: dataplane.address.to_string(),
        inbounds: dataplane
            .inbounds
            .iter()
            .map(|inbound| store::Inbound {
                port: inbound.port.into(),
                name: inbound.name.to_string(),
                tags: label_map(&inbound.tags),
            })
            .collect(),
        agent_version: dataplane.agent_version.to_string(),
        since: Some(timestamp(record.since)),
        retained_until: record.retained_until.map(timestamp),
    }
}

/// Why a stored record can't be used. The text completes a sentence that begins with the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is not a message of its kind.
    #[error("can't be decoded: {0}")]
    Encoding(#[from] DecodeError),
    /// A field is invalid.
    #[error("is invalid: {0}")]
    Invalid(#[from] Invalid),
}

/// Decodes a registration with the key `dataplanes/<mesh>/<namespace>/<name>`.
///
/// # Errors
///
/// If the value is no registration, or a field is invalid.
pub fn registration_from_store(
    [mesh, namespace, name]: [&str; 3],
    value: &[u8],
) -> Result<RegistrationRecord, RecordError> {
    let stored = store::Registration::decode(value)?;
    let environment = match stored.environment() {
        store::Environment::Kubernetes => Environment::Kubernetes,
        store::Environment::Universal | store::Environment::Unspecified => Environment::Universal,
    };
    let inbound =
        |inbound: store::Inbound| InboundSpec { port: inbound.port, name: inbound.name, tags: inbound.tags };
    let spec = DataplaneSpec {
        mesh: mesh.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        zone: stored.zone,
        environment,
        labels: stored.labels,
        address: stored.address,
        inbounds: stored.inbounds.into_iter().map(inbound).collect(),
        agent_version: stored.agent_version,
    };
    Ok(RegistrationRecord {
        dataplane: Arc::new(Dataplane::parse(&spec, DataplaneLimits::PROTOCOL)?),
        since: time("since", stored.since)?,
        retained_until: stored.retained_until.map(|until| time("retained_until", Some(until))).transpose()?,
    })
}

/// Converts a Workload. Its key names it, so the message does not.
pub fn workload_to_store(record: &WorkloadRecord) -> store::Workload {
    store::Workload {
        mesh: record.mesh.to_string(),
        uid: record.uid.as_bytes().to_vec(),
        creation_time: Some(timestamp(record.creation_time)),
    }
}

/// Decodes a Workload with the key `workloads/<namespace>/<name>`.
///
/// # Errors
///
/// If the value is no Workload, or a field is invalid.
pub fn workload_from_store(
    [namespace, name]: [&str; 2],
    value: &[u8],
) -> Result<WorkloadRecord, RecordError> {
    let stored = store::Workload::decode(value)?;
    Ok(WorkloadRecord {
        key: WorkloadKey::parse(namespace, name)?,
        mesh: MeshName::parse("mesh", &stored.mesh)?,
        uid: Uuid::from_slice(&stored.uid).map_err(|error| Invalid::new("uid", error.to_string()))?,
        creation_time: time("creation_time", stored.creation_time)?,
    })
}

pub(super) fn time(field: &str, stored: Option<prost_types::Timestamp>) -> Result<SystemTime, Invalid> {
    stored.and_then(|time| time.try_into().ok()).ok_or_else(|| Invalid::new(field, "is not a point in time"))
}
