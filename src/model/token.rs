//! Keys of tokens, and tokens that have been revoked.

use std::{fmt, str::FromStr, sync::Arc, time::SystemTime};

use zeroize::Zeroizing;

use super::{Invalid, MeshName, name::Quoted};

/// The identifier of a key, which a token names in its header as `kid`: 1 to 64 of the characters
/// `A-Z a-z 0-9 . _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

/// The identifier of a token, its claim `jti`: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(Arc<str>);

/// What a key may sign. A key for one use can't prove another: the key of a mesh signs no user
/// tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyUse {
    /// Dataplane tokens of one mesh.
    Mesh(MeshName),
    /// Dataplane tokens of all meshes.
    AllMeshes,
    /// User tokens.
    Users,
}

/// The algorithm of a signature. It belongs to the key; the header of a token must name the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, and keys of 2048 bits or more: Kuma's algorithm.
    Rs256,
    /// ECDSA with the curve P-256 and SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A private key: PKCS#8, or PKCS#1 for an RSA key. It is erased from memory when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

/// A key that the server signs tokens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// Its identifier, unique among the keys of the same use.
    pub id: KeyId,
    /// What it may sign.
    pub usage: KeyUse,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// The private key; the public key follows from it.
    pub private_key: PrivateKey,
    /// When it was created.
    pub creation_time: SystemTime,
}

/// A token that is no longer valid. All tokens of a key end when the key is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The token's identifier.
    pub id: TokenId,
    /// When the token expires.
    pub expires: SystemTime,
}

impl KeyUse {
    /// The use of a key that signs the dataplane tokens of a mesh; without one, those of all meshes.
    pub fn dataplanes(mesh: Option<MeshName>) -> Self {
        mesh.map_or(Self::AllMeshes, Self::Mesh)
    }
}

impl KeyId {
    /// The longest identifier, in bytes.
    const MAX_BYTES: usize = 64;

    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the identifier is empty, too long, or has another character.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(allowed) {
            let problem = "must have 1 to 64 of the characters A-Z a-z 0-9 . _ -";
            return Err(Invalid::new(field, format!("{}: {problem}", Quoted(text))));
        }
        Ok(Self(text.into()))
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TokenId {
    /// The longest identifier, in bytes.
    const MAX_BYTES: usize = 128;

    /// Parses the value of `field`.
    ///
    /// # Errors
    ///
    /// If the identifier is empty, too long, or has another character. The error does not quote it:
    /// it may be a whole token, which is a secret.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || !text.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(Invalid::new(field, "must have 1 to 128 visible ASCII characters"));
        }
        Ok(Self(text.into()))
    }

    /// A random identifier.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string().into())
    }

    /// Returns the identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh(mesh) => write!(f, "dataplane tokens of mesh \"{mesh}\""),
            Self::AllMeshes => f.write_str("dataplane tokens of all meshes"),
            Self::Users => f.write_str("user tokens"),
        }
    }
}

impl KeyAlgorithm {
    /// The name in the header of a token.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for KeyAlgorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Rs256, Self::Es256, Self::EdDsa];
        all.into_iter().find(|algorithm| algorithm.name() == text).ok_or("must be ES256, EdDSA or RS256")
    }
}

impl PrivateKey {
    /// Takes a key in DER.
    pub fn new(der: Vec<u8>) -> Self {
        Self(Zeroizing::new(der))
    }

    /// Returns the key in DER.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_a_bounded_length_and_plain_characters() {
        for good in ["1", "2026-11.a_B", &"a".repeat(64)] {
            assert_eq!(KeyId::parse("kid", good).unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "a b", "ä", "a\n", &"a".repeat(65)] {
            assert!(KeyId::parse("kid", bad).is_err(), "{bad:?}");
        }
        for good in ["a+b/c=", &"a".repeat(128)] {
            assert_eq!(TokenId::parse("jti", good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "ä", "a\u{7f}", &"a".repeat(129)] {
            assert!(TokenId::parse("jti", bad).is_err(), "{bad:?}");
        }
        for secret in ["eyJhbGci.secret".repeat(10), "sec ret".to_owned()] {
            let error = TokenId::parse("id", &secret).unwrap_err().to_string();
            assert_eq!(error, "id: must have 1 to 128 visible ASCII characters");
        }
        assert_ne!(TokenId::random(), TokenId::random());
    }

    #[test]
    fn a_private_key_is_not_printed() {
        assert_eq!(format!("{:?}", PrivateKey::new(b"secret".to_vec())), "PrivateKey");
    }

    #[test]
    fn algorithms_have_the_names_of_the_standard() {
        for name in ["RS256", "ES256", "EdDSA"] {
            assert_eq!(name.parse::<KeyAlgorithm>().unwrap().to_string(), name);
        }
        for other in ["none", "HS256", "es256", "RS512", ""] {
            assert!(other.parse::<KeyAlgorithm>().is_err(), "{other}");
        }
    }
}
