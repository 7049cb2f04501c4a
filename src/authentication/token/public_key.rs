//! Public keys, which verify signatures.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use x509_cert::{
    der::{
        self, Decode as _, Encode as _, Header, Reader as _, SliceReader, Tag,
        asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef},
    },
    spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef},
};

use super::TokenError;
use crate::{authentication::jws::Jws, model::KeyAlgorithm};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ELLIPTIC_CURVE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const ED25519_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Bits of an RSA key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Bytes of an uncompressed point of P-256, and its first byte.
const P256_BYTES: usize = 65;
const UNCOMPRESSED: u8 = 4;
const ED25519_BYTES: usize = 32;

const UNREADABLE: &str = "can't be decoded as a public key";

fn unreadable(_error: der::Error) -> KeyError {
    KeyError(UNREADABLE)
}

/// A public key, and the one algorithm that it is used with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    /// As ring reads it: an `RSAPublicKey`, an uncompressed point, or 32 bytes.
    bytes: Arc<[u8]>,
}

/// Why a key can't be used. The text completes a sentence that begins with the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub(in crate::authentication) &'static str);

impl PublicKey {
    /// Takes the public key of a key pair of ring.
    pub(super) fn trusted(algorithm: KeyAlgorithm, bytes: &[u8]) -> Self {
        Self { algorithm, bytes: bytes.into() }
    }

    /// Reads a PEM file with one public key: `BEGIN PUBLIC KEY`, or `BEGIN RSA PUBLIC KEY`, which
    /// `kumactl generate public-key` writes.
    ///
    /// # Errors
    ///
    /// If there is not exactly one public key, or it is not one of RSA (2048 to 8192 bits), ECDSA
    /// P-256 or Ed25519.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        // One label is enough, because the contents differ as well.
        let pem = String::from_utf8_lossy(pem).replace(" RSA PUBLIC KEY-", " PUBLIC KEY-");
        let mut keys = SubjectPublicKeyInfoDer::pem_slice_iter(pem.as_bytes());
        let none = "has no public key: there must be a block that begins with BEGIN PUBLIC KEY";
        let key = keys.next().and_then(Result::ok).ok_or(KeyError(none))?;
        if keys.next().is_some() {
            return Err(KeyError("has more than one public key: give each key a file of its own"));
        }
        if rsa_bits(&key).is_ok() { Self::from_rsa(&key) } else { Self::from_spki(&key) }
    }

    /// Takes the modulus and the exponent of an RSA key, as a JWK has them (RFC 7518, 6.3.1).
    ///
    /// # Errors
    ///
    /// If they are no such key, or it has less than 2048 or more than 8192 bits.
    pub(in crate::authentication) fn from_rsa_parts(
        modulus: &[u8],
        exponent: &[u8],
    ) -> Result<Self, KeyError> {
        let sequence = || -> der::Result<Vec<u8>> {
            let (modulus, exponent) = (UintRef::new(modulus)?, UintRef::new(exponent)?);
            let length = (modulus.encoded_len()? + exponent.encoded_len()?)?;
            let header = Header::new(Tag::Sequence, length);
            Ok([header.to_der()?, modulus.to_der()?, exponent.to_der()?].concat())
        };
        Self::from_rsa(&sequence().map_err(unreadable)?)
    }

    /// Takes the coordinates of a point of P-256, as a JWK has them (RFC 7518, 6.2.1).
    ///
    /// # Errors
    ///
    /// If they have not 32 bytes each.
    pub(in crate::authentication) fn from_p256_point(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if (x.len(), y.len()) != (P256_BYTES / 2, P256_BYTES / 2) {
            return Err(KeyError(UNREADABLE));
        }
        Ok(Self::trusted(KeyAlgorithm::Es256, &[&[UNCOMPRESSED], x, y].concat()))
    }

    /// Takes an `RSAPublicKey`.
    fn from_rsa(der: &[u8]) -> Result<Self, KeyError> {
        let bits = rsa_bits(der).map_err(unreadable)?;
        if !RSA_BITS.contains(&bits) {
            return Err(KeyError("is an RSA key with less than 2048 or more than 8192 bits"));
        }
        Ok(Self::trusted(KeyAlgorithm::Rs256, der))
    }

    fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let key = SubjectPublicKeyInfoRef::from_der(der).map_err(unreadable)?;
        let bytes = key.subject_public_key.as_bytes().ok_or(KeyError(UNREADABLE))?;
        let algorithm = match key.algorithm.oid {
            RSA => return Self::from_rsa(bytes),
            ELLIPTIC_CURVE if key.algorithm.parameters_oid() == Ok(P256) => {
                if (bytes.len(), bytes.first()) != (P256_BYTES, Some(&UNCOMPRESSED)) {
                    return Err(KeyError(
                        "is not an uncompressed point: convert it with `openssl pkey -pubin -ec_conv_form uncompressed`",
                    ));
                }
                KeyAlgorithm::Es256
            }
            ED25519_KEY if bytes.len() == ED25519_BYTES => KeyAlgorithm::EdDsa,
            _ => return Err(KeyError("is of another kind than RSA, ECDSA P-256 and Ed25519")),
        };
        Ok(Self::trusted(algorithm, bytes))
    }

    /// The algorithm.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Checks that the key has signed a message, with the algorithm that a token's header names.
    ///
    /// # Errors
    ///
    /// If the header names another algorithm than the key's, or the key has not signed the message.
    pub(in crate::authentication) fn verify(&self, jws: &Jws<'_>) -> Result<(), TokenError> {
        if self.algorithm.name() != jws.algorithm {
            Err(TokenError::algorithm(&jws.algorithm, self.algorithm))
        } else if self.has_signed(jws.signed, &jws.signature) {
            Ok(())
        } else {
            Err(TokenError::signature(self.algorithm))
        }
    }

    /// Whether the key has signed a message.
    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            KeyAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            KeyAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            KeyAlgorithm::EdDsa => &ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }

    /// The key as PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Panics
    ///
    /// Never: keys are much smaller than the largest DER, 256 MiB.
    pub fn to_pem(&self) -> String {
        let der = self.to_spki().expect("a key is much smaller than the largest DER");
        pem("PUBLIC KEY", &der)
    }

    fn to_spki(&self) -> der::Result<Vec<u8>> {
        let (oid, parameters) = match self.algorithm {
            KeyAlgorithm::Rs256 => (RSA, Some(AnyRef::NULL)),
            KeyAlgorithm::Es256 => (ELLIPTIC_CURVE, Some(AnyRef::from(&P256))),
            KeyAlgorithm::EdDsa => (ED25519_KEY, None),
        };
        let algorithm = AlgorithmIdentifierRef { oid, parameters };
        let subject_public_key = BitStringRef::from_bytes(&self.bytes)?;
        SubjectPublicKeyInfoRef { algorithm, subject_public_key }.to_der()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm)
    }
}

/// Bits of the modulus of an `RSAPublicKey`.
fn rsa_bits(der: &[u8]) -> der::Result<usize> {
    let mut reader = SliceReader::new(der)?;
    let modulus = reader.sequence(|reader| {
        let modulus = UintRef::decode(reader)?;
        UintRef::decode(reader)?;
        Ok::<_, der::Error>(modulus.as_bytes())
    })?;
    reader.finish()?;
    let leading_zeros = modulus.first().map_or(0, |first| first.leading_zeros() as usize);
    Ok(modulus.len() * 8 - leading_zeros)
}

/// A block of PEM, with lines of 64 characters.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for start in (0..base64.len()).step_by(64) {
        pem += &base64[start..base64.len().min(start + 64)];
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}
