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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::pki;

    fn check(cert: &str, key: &str) -> Result<(), String> {
        let files =
            [PemFile::new("kube-tls-cert-file", "tls.crt"), PemFile::new("kube-tls-key-file", "tls.key")];
        let pair = certified_key([(&files[0], &cert.into()), (&files[1], &key.into())]);
        pair.map(drop).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_pair_that_belongs_together_is_taken() {
        let ca = pki::Authority::new();
        let pair = ca.server(&["localhost"]);
        check(&pair.cert, &pair.key).unwrap();
        check(&(pair.cert.clone() + &ca.pem), &pair.key).expect("with its issuer");
        check(&format!("A comment.\n{}", pair.cert), &(pair.key + "\n\n")).expect("with words around");
    }

    #[test]
    fn a_pair_that_does_not_is_refused_by_setting_file_and_remedy() {
        let ca = pki::Authority::new();
        let (one, other) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let strange = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let (cert_place, key_place) = ("--kube-tls-cert-file tls.crt: ", "--kube-tls-key-file tls.key: ");
        for (cert, key, place, problem) in [
            (&*one.cert, &*other.key, cert_place, "is not that of the key in --kube-tls-key-file tls.key"),
            (&one.key, &one.key, cert_place, "has no certificate"),
            ("", &one.key, cert_place, "BEGIN CERTIFICATE"),
            (garbage, &one.key, cert_place, "can't be read"),
            (&one.cert, &one.cert, key_place, "has no private key"),
            (&one.cert, "", key_place, "BEGIN EC PRIVATE KEY"),
            (&one.cert, encrypted, key_place, "openssl pkey"),
            (&one.cert, strange, key_place, "the key can't be used"),
        ] {
            let error = check(cert, key).unwrap_err();
            assert!(error.starts_with(place), "{error}");
            assert!(error.contains(problem), "{problem:?} is not in {error:?}");
            assert!(!error.contains("AAAA"), "what may be a secret is not shown: {error}");
        }
    }
}
