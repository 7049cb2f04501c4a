//! Private keys, which sign tokens.

use std::fmt;

use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
        RsaKeyPair,
    },
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::public_key::{KeyError, PublicKey, pem};
use crate::model::{KeyAlgorithm, PrivateKey};

/// What precedes the 32 bytes of an Ed25519 key in PKCS#8 (RFC 8410). ring writes the second
/// version of PKCS#8, which OpenSSL 3.0 can't read.
const ED25519_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const ED25519_SEED: usize = 32;

/// A key that signs tokens.
pub struct SigningKey {
    pair: Pair,
    private: PrivateKey,
}

enum Pair {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    /// Creates a random key.
    ///
    /// # Errors
    ///
    /// For RSA, of which ring can't create keys; or if the system has no random numbers.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let no_random = |_unspecified| KeyError("can't be created: the system returned no random numbers");
        let random = SystemRandom::new();
        let der = match algorithm {
            KeyAlgorithm::Rs256 => {
                return Err(KeyError(
                    "can't be created by headcount for RS256: create it with `openssl genrsa -out FILE 2048`, or use \
                     ES256 or EdDSA",
                ));
            }
            KeyAlgorithm::Es256 => {
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(no_random)?;
                document.as_ref().to_vec()
            }
            KeyAlgorithm::EdDsa => {
                let mut seed = Zeroizing::new([0; ED25519_SEED]);
                random.fill(&mut *seed).map_err(no_random)?;
                [&ED25519_PREFIX[..], &seed[..]].concat()
            }
        };
        Self::new(PrivateKey::new(der), algorithm)
    }

    /// Reads a PEM file with one private key: PKCS#8, or PKCS#1 for RSA.
    ///
    /// # Errors
    ///
    /// If there is no private key, it is encrypted, or it is not one of RSA (2048 to 4096 bits),
    /// ECDSA P-256 or Ed25519.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        const ENCRYPTED: &[u8] = b"ENCRYPTED";
        if pem.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
            return Err(KeyError("is encrypted: decrypt it with `openssl pkey -in ENCRYPTED -out PLAIN`"));
        }
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_no_key| {
            KeyError("has no private key: there must be a block that begins with BEGIN PRIVATE KEY")
        })?;
        if let PrivateKeyDer::Sec1(_) = key {
            return Err(KeyError(
                "is in the SEC1 format: convert it with `openssl pkcs8 -topk8 -nocrypt -in SEC1 -out FILE`",
            ));
        }
        Self::from_der(PrivateKey::new(key.secret_der().to_vec()))
    }

    /// Reads a key of any algorithm.
    fn from_der(private: PrivateKey) -> Result<Self, KeyError> {
        let all = [KeyAlgorithm::Es256, KeyAlgorithm::EdDsa, KeyAlgorithm::Rs256];
        let algorithm = all.into_iter().find(|algorithm| Pair::parse(*algorithm, private.as_der()).is_some());
        let unusable = "is of another kind than ECDSA P-256, Ed25519 and RSA of 2048 to 4096 bits";
        Self::new(private, algorithm.ok_or(KeyError(unusable))?)
    }

    /// Reads a key of this algorithm.
    ///
    /// # Errors
    ///
    /// If it is not such a key.
    pub fn new(private: PrivateKey, algorithm: KeyAlgorithm) -> Result<Self, KeyError> {
        let pair = Pair::parse(algorithm, private.as_der());
        let pair = pair.ok_or(KeyError("is no private key of its algorithm"))?;
        Ok(Self { pair, private })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match self.pair {
            Pair::Rs256(_) => KeyAlgorithm::Rs256,
            Pair::Es256(_) => KeyAlgorithm::Es256,
            Pair::EdDsa(_) => KeyAlgorithm::EdDsa,
        }
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        let bytes = match &self.pair {
            Pair::Rs256(pair) => pair.public_key().as_ref(),
            Pair::Es256(pair) => pair.public_key().as_ref(),
            Pair::EdDsa(pair) => pair.public_key().as_ref(),
        };
        PublicKey::trusted(self.algorithm(), bytes)
    }

    /// The private key, to store it.
    pub fn private_key(&self) -> &PrivateKey {
        &self.private
    }

    /// The private key as PEM. It is erased from memory when it is dropped.
    pub fn to_pem(&self) -> Zeroizing<String> {
        let der = self.private.as_der();
        let pkcs1 = matches!(self.pair, Pair::Rs256(_)) && RsaKeyPair::from_pkcs8(der).is_err();
        Zeroizing::new(pem(if pkcs1 { "RSA PRIVATE KEY" } else { "PRIVATE KEY" }, der))
    }

    /// Signs a message.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        let failed = |_unspecified| KeyError("can't sign: the system returned no random numbers");
        match &self.pair {
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
            Pair::Es256(pair) => Ok(pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Pair::EdDsa(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl Pair {
    fn parse(algorithm: KeyAlgorithm, der: &[u8]) -> Option<Self> {
        let random = SystemRandom::new();
        match algorithm {
            KeyAlgorithm::Rs256 => {
                RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).map(Self::Rs256)
            }
            KeyAlgorithm::Es256 => {
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).map(Self::Es256)
            }
            KeyAlgorithm::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self::EdDsa),
        }
        .ok()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm())
    }
}
