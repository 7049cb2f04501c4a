//! Conversion of signing keys, revocations and the restrictions of tokens.

use std::{collections::BTreeSet, time::Duration};

use prost::Message as _;

use super::{
    duration,
    record::{RecordError, time},
    timestamp,
};
use crate::{
    model::{
        DataplaneGrant, Invalid, KeyAlgorithm, KeyId, KeyUse, PrivateKey, Revocation, SigningKeyRecord,
        TokenId,
    },
    proto::{self, IssueDataplaneTokenRequest, TagValues, store},
};

/// Converts the use of a key to its kind and its mesh, which is empty if the use has none.
pub fn key_use_to_proto(usage: &KeyUse) -> (proto::KeyUse, String) {
    match usage {
        KeyUse::Mesh(mesh) => (proto::KeyUse::Dataplane, mesh.to_string()),
        KeyUse::AllMeshes => (proto::KeyUse::Dataplane, String::new()),
        KeyUse::Users => (proto::KeyUse::User, String::new()),
    }
}

/// The request for a token with this grant.
pub fn dataplane_token_request(grant: &DataplaneGrant, valid_for: Duration) -> IssueDataplaneTokenRequest {
    fn text(name: Option<&impl ToString>) -> String {
        name.map(ToString::to_string).unwrap_or_default()
    }
    let tag = |(key, values): (&String, &BTreeSet<String>)| {
        (key.clone(), TagValues { values: values.iter().cloned().collect() })
    };
    IssueDataplaneTokenRequest {
        mesh: text(grant.mesh.as_ref()),
        namespace: text(grant.namespace.as_ref()),
        name: text(grant.name.as_ref()),
        workload: text(grant.workload.as_ref()),
        tags: grant.tags.iter().map(tag).collect(),
        valid_for: Some(duration(valid_for)),
    }
}

/// Converts a signing key. Its key names its use and its identifier, so the message does not.
pub fn signing_key_to_store(record: &SigningKeyRecord) -> store::SigningKey {
    let algorithm = match record.algorithm {
        KeyAlgorithm::Rs256 => store::KeyAlgorithm::Rs256,
        KeyAlgorithm::Es256 => store::KeyAlgorithm::Es256,
        KeyAlgorithm::EdDsa => store::KeyAlgorithm::EdDsa,
    };
    store::SigningKey {
        algorithm: algorithm.into(),
        private_key: record.private_key.as_der().to_vec(),
        creation_time: Some(timestamp(record.creation_time)),
    }
}

/// Decodes a signing key. Whether its private key is one of its algorithm is not checked.
///
/// # Errors
///
/// If the value is no signing key, or a field is invalid.
pub fn signing_key_from_store(
    (usage, id): (KeyUse, KeyId),
    value: &[u8],
) -> Result<SigningKeyRecord, RecordError> {
    let stored = store::SigningKey::decode(value)?;
    let private_key = PrivateKey::new(stored.private_key);
    let algorithm = match store::KeyAlgorithm::try_from(stored.algorithm) {
        Ok(store::KeyAlgorithm::Rs256) => KeyAlgorithm::Rs256,
        Ok(store::KeyAlgorithm::Es256) => KeyAlgorithm::Es256,
        Ok(store::KeyAlgorithm::EdDsa) => KeyAlgorithm::EdDsa,
        Ok(store::KeyAlgorithm::Unspecified) | Err(_) => {
            return Err(Invalid::new("algorithm", "is not one that this version knows").into());
        }
    };
    let creation_time = time("creation_time", stored.creation_time)?;
    Ok(SigningKeyRecord { id, usage, algorithm, private_key, creation_time })
}

/// Converts a revocation. Its key names the token.
pub fn revocation_to_store(revocation: &Revocation) -> store::Revocation {
    store::Revocation { expires: Some(timestamp(revocation.expires)) }
}

/// Decodes a revocation.
///
/// # Errors
///
/// If the value is no revocation, or it has no end.
pub fn revocation_from_store(id: TokenId, value: &[u8]) -> Result<Revocation, RecordError> {
    let expires = time("expires", store::Revocation::decode(value)?.expires)?;
    Ok(Revocation { id, expires })
}
