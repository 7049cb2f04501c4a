//! Conversion of stored signing keys and revocations.

use prost::Message as _;

use super::{
    record::{RecordError, time},
    timestamp,
};
use crate::{
    model::{Invalid, KeyAlgorithm, KeyId, KeyUse, PrivateKey, Revocation, SigningKeyRecord, TokenId},
    proto::store,
};

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

/// Converts a revocation. Its key names what is revoked.
pub fn revocation_to_store(revocation: &Revocation) -> store::Revocation {
    let expires = match revocation {
        Revocation::Token { expires, .. } => Some(timestamp(*expires)),
        Revocation::Key { .. } => None,
    };
    store::Revocation { expires }
}

/// Decodes the revocation of a token.
///
/// # Errors
///
/// If the value is no revocation, or it has no end.
pub fn revoked_token_from_store(id: TokenId, value: &[u8]) -> Result<Revocation, RecordError> {
    let expires = time("expires", store::Revocation::decode(value)?.expires)?;
    Ok(Revocation::Token { id, expires })
}

/// Decodes the revocation of a key.
///
/// # Errors
///
/// If the value is no revocation.
pub fn revoked_key_from_store((usage, id): (KeyUse, KeyId), value: &[u8]) -> Result<Revocation, RecordError> {
    store::Revocation::decode(value)?;
    Ok(Revocation::Key { usage, id })
}
