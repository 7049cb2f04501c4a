//! Why a token is not accepted.

use crate::model::{KeyAlgorithm, KeyId, KeyUse};

/// Why a token is not accepted. The texts are Kuma's where Kuma has the rule. They contain
/// nothing of the token but the identifier of its key and the name of its mesh, which are valid
/// names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token.
    #[error("could not parse token: token is malformed: {0}")]
    Malformed(&'static str),
    /// Its header names no key.
    #[error(
        "could not parse token: token is unverifiable: error while executing keyfunc: JWT token must have kid header"
    )]
    NoKeyId,
    /// Its header has a member that is not allowed, or not with this value.
    #[error("could not parse token: token is unverifiable: unsupported header {0}")]
    Header(&'static str),
    /// Its header names another algorithm than that of the key.
    #[error(
        "could not parse token: token is unverifiable: error while executing keyfunc: unsupported token alg \
         {alg}. Allowed algorithm is {allowed}"
    )]
    Algorithm {
        /// The algorithm of the header, if it is a registered one.
        alg: &'static str,
        /// The algorithm of the key.
        allowed: KeyAlgorithm,
    },
    /// There is no such key for tokens of this kind.
    #[error(
        "there is no signing key with KID {id} for {usage}. If signing key was rotated, regenerate the token"
    )]
    UnknownKey {
        /// The key that the header names.
        id: KeyId,
        /// The kind of the token.
        usage: KeyUse,
    },
    /// The key has not signed it.
    #[error("could not parse token: token signature is invalid: {0}: verification error")]
    Signature(&'static str),
    /// It has expired.
    #[error("could not parse token: token has invalid claims: token is expired")]
    Expired,
    /// It is not valid yet.
    #[error("could not parse token: token has invalid claims: token is not valid yet")]
    NotYetValid,
    /// A claim is missing or invalid.
    #[error("could not parse token: token has invalid claims: {0}")]
    Claim(&'static str),
    /// It has been revoked.
    #[error("token is revoked")]
    Revoked,
}

impl TokenError {
    /// The reason in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NoKeyId | Self::UnknownKey { .. } => "unknown_key",
            Self::Header(_) | Self::Algorithm { .. } => "unsupported",
            Self::Signature(_) => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Claim(_) => "claims",
            Self::Revoked => "revoked",
        }
    }

    /// The error about a token whose header names `alg` and whose key is for `allowed`.
    pub(super) fn algorithm(alg: &str, allowed: KeyAlgorithm) -> Self {
        const REGISTERED: [&str; 14] = [
            "none", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256",
            "PS384", "PS512", "EdDSA",
        ];
        let alg = REGISTERED.into_iter().find(|name| *name == alg).unwrap_or("of another name");
        Self::Algorithm { alg, allowed }
    }

    /// The error about a signature that a key for `algorithm` has not made.
    pub(super) fn signature(algorithm: KeyAlgorithm) -> Self {
        Self::Signature(match algorithm {
            KeyAlgorithm::Rs256 => "crypto/rsa",
            KeyAlgorithm::Es256 => "crypto/ecdsa",
            KeyAlgorithm::EdDsa => "ed25519",
        })
    }
}
