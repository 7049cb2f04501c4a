//! Conversion of Workloads.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::{label_map, timestamp};
use crate::{
    model::{MeshName, Workload, WorkloadIdentity, WorkloadKey},
    proto,
};
/// Returns the encoded message of a Workload, which all readers share. The fields of its identity
/// are encoded once for all states that share it, and the others are appended: decoders merge
/// concatenated messages into one.
pub fn encoded(workload: &Workload) -> Bytes {
    workload.encoded(|workload| {
        let identity =
            workload.identity.encoded(|identity| identity_to_proto(identity).encode_to_vec().into());
        let state = state_of_workload(workload);
        let mut bytes = BytesMut::with_capacity(identity.len() + state.encoded_len());
        bytes.extend_from_slice(identity);
        state.encode_raw(&mut bytes);
        bytes.freeze()
    })
}

fn identity_to_proto(identity: &WorkloadIdentity) -> proto::Workload {
    proto::Workload {
        name: identity.key.name.to_string(),
        namespace: identity.key.namespace.to_string(),
        mesh: identity.mesh.to_string(),
        uid: identity.uid.to_string(),
        labels: label_map(&identity.labels),
        creation_time: Some(timestamp(identity.creation_time)),
        ..proto::Workload::default()
    }
}

fn state_of_workload(workload: &Workload) -> proto::Workload {
    let counts = workload.counts;
    proto::Workload {
        revision: workload.revision,
        status: Some(proto::WorkloadStatus {
            dataplane_proxies: Some(proto::DataplaneProxies {
                connected: counts.connected,
                healthy: counts.healthy,
                total: counts.total,
            }),
            last_transition_time: Some(timestamp(workload.last_transition_time)),
        }),
        ..proto::Workload::default()
    }
}

/// Returns the message that refers to a Workload.
pub fn workload_ref(key: &WorkloadKey, mesh: &MeshName) -> proto::WorkloadRef {
    proto::WorkloadRef {
        name: key.name.to_string(),
        namespace: key.namespace.to_string(),
        mesh: mesh.to_string(),
    }
}
