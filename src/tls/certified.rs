//! With what a server proves who it is.

use rustls::{InconsistentKeys, crypto::ring, sign::CertifiedKey};

use super::pem::{PemFile, Text};

/// A chain of certificates and the key of the first one, from their two files.
pub(crate) fn certified_key([cert, key]: [(&PemFile, &Text); 2]) -> anyhow::Result<CertifiedKey> {
    let ((cert, chain), (key, private)) = (cert, key);
    let (chain, private) = (cert.certificates(chain)?, key.private_key(private)?);
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => anyhow::anyhow!(
            "{}: its first certificate is not that of the key in {}: give the certificate that was issued for \
             this key, and those of its issuers after it",
            cert.place(),
            key.place(),
        ),
        rustls::Error::InvalidCertificate(_) => {
            anyhow::anyhow!("{}: its first certificate can't be read ({error})", cert.place())
        }
        _ => anyhow::anyhow!(
            "{}: the key can't be used ({error}): give one of ECDSA (P-256, P-384), Ed25519 or RSA (2048 to 4096 bits)",
            key.place()
        ),
    })
}
