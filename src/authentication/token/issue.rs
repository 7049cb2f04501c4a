//! Issuing tokens.

use super::{Claims, KeyError, SigningKey};
use crate::{authentication::jws::encode_part, model::KeyId};

/// Issues a token. The key must be one that may sign these claims; a verifier would not accept
/// the token otherwise.
///
/// # Errors
///
/// If the system has no random numbers.
pub fn issue(claims: &Claims, id: &KeyId, key: &SigningKey) -> Result<String, KeyError> {
    // A key's identifier has no characters that JSON escapes.
    let header = format!(r#"{{"alg":"{}","kid":"{id}","typ":"JWT"}}"#, key.algorithm());
    sign(header.as_bytes(), &claims.to_json(), key)
}

/// Encodes and signs a header and claims.
pub(in crate::authentication) fn sign(
    header: &[u8],
    claims: &[u8],
    key: &SigningKey,
) -> Result<String, KeyError> {
    let signed = format!("{}.{}", encode_part(header), encode_part(claims));
    let signature = key.sign(signed.as_bytes())?;
    Ok(format!("{signed}.{}", encode_part(&signature)))
}
