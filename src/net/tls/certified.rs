//! A server's certificate chain and private key.

use rustls::{InconsistentKeys, crypto::ring, sign::CertifiedKey};

use super::pem::{PemFile, Text};

/// Parses a certificate chain and the private key of its first certificate.
///
/// # Errors
///
/// If a file holds neither, or the key does not belong to the certificate. The error names
/// the setting, the file and the remedy, and never quotes the file.
pub(crate) fn certified_key([cert, key]: [(&PemFile, &Text); 2]) -> anyhow::Result<CertifiedKey> {
    let ((cert, chain), (key, private)) = (cert, key);
    let (chain, private) = (cert.certificates(chain)?, key.private_key(private)?);
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => anyhow::anyhow!(
            "{}: its first certificate is not that of the key in {}: give the certificate that was issued for \
             this key, and those of its issuers after it",
            cert.source(),
            key.source(),
        ),
        rustls::Error::InvalidCertificate(_) => {
            anyhow::anyhow!("{}: its first certificate can't be read ({error})", cert.source())
        }
        _ => anyhow::anyhow!(
            "{}: the key can't be used ({error}): give one of ECDSA (P-256, P-384), Ed25519 or RSA (2048 to 4096 bits)",
            key.source()
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
    fn a_matching_pair_is_accepted() {
        let ca = pki::Authority::new();
        let pair = ca.server(&["localhost"]);
        check(&pair.cert, &pair.key).unwrap();
        check(&(pair.cert.clone() + &ca.pem), &pair.key).expect("with its issuer");
        check(&format!("A comment.\n{}", pair.cert), &(pair.key + "\n\n")).expect("with text around it");
    }

    #[test]
    fn errors_name_setting_file_and_remedy_and_no_secret() {
        let ca = pki::Authority::new();
        let (one, other) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let strange = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let (cert_source, key_source) = ("--kube-tls-cert-file tls.crt: ", "--kube-tls-key-file tls.key: ");
        for (cert, key, source, problem) in [
            (&*one.cert, &*other.key, cert_source, "is not that of the key in --kube-tls-key-file tls.key"),
            (&one.key, &one.key, cert_source, "has no certificate"),
            ("", &one.key, cert_source, "BEGIN CERTIFICATE"),
            (garbage, &one.key, cert_source, "can't be read"),
            (&one.cert, &one.cert, key_source, "has no private key"),
            (&one.cert, "", key_source, "BEGIN EC PRIVATE KEY"),
            (&one.cert, encrypted, key_source, "openssl pkey"),
            (&one.cert, strange, key_source, "the key can't be used"),
        ] {
            let error = check(cert, key).unwrap_err();
            assert!(error.starts_with(source), "{error}");
            assert!(error.contains(problem), "{problem:?} is not in {error:?}");
            assert!(!error.contains("AAAA"), "quotes what may be a secret: {error}");
        }
    }
}
