//! A server's certificate chain and private key.

use std::time::SystemTime;

use rustls::{InconsistentKeys, crypto::ring, pki_types::CertificateDer, sign::CertifiedKey};
use x509_cert::{Certificate, der::Decode as _};

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

/// As [`certified_key`], for a server: its certificate must be valid now, because every client would
/// reject another one.
///
/// # Errors
///
/// As [`certified_key`], and if the certificate has expired or is not valid yet.
pub(super) fn server_certificate([cert, key]: [(&PemFile, &Text); 2]) -> anyhow::Result<CertifiedKey> {
    let pair = certified_key([cert, key])?;
    let source = cert.0.source();
    if let Some(leaf) = pair.cert.first() {
        let problem = validity_problem(leaf, SystemTime::now())
            .map_err(|error| anyhow::anyhow!("{source}: its first certificate can't be read ({error})"))?;
        if let Some(problem) = problem {
            anyhow::bail!(
                "{source}: its first certificate {problem}: give one that is valid now, and check this machine's clock"
            );
        }
    }
    Ok(pair)
}

/// Why a certificate is not valid at this time; none if it is valid.
fn validity_problem(
    certificate: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<Option<String>, x509_cert::der::Error> {
    let certificate = Certificate::from_der(certificate)?;
    let validity = certificate.tbs_certificate().validity();
    let from = SystemTime::UNIX_EPOCH + validity.not_before.to_unix_duration();
    let until = SystemTime::UNIX_EPOCH + validity.not_after.to_unix_duration();
    Ok(if until < now {
        Some(format!("expired at {}", humantime::format_rfc3339_seconds(until)))
    } else if from > now {
        Some(format!("is not valid before {}", humantime::format_rfc3339_seconds(from)))
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use rcgen::date_time_ymd;

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
    fn a_server_certificate_that_is_not_valid_now_is_rejected() {
        let ca = pki::Authority::new();
        let files = [PemFile::new("tls-cert-file", "tls.crt"), PemFile::new("tls-key-file", "tls.key")];
        let check = |pair: pki::Pair| {
            let texts = (pair.cert.into(), pair.key.into());
            server_certificate([(&files[0], &texts.0), (&files[1], &texts.1)]).map(drop)
        };
        check(ca.server(&["localhost"])).unwrap();
        let expired = ca.server_with(&["localhost"], |it| it.not_after = date_time_ymd(2020, 1, 2));
        let early = ca.server_with(&["localhost"], |it| it.not_before = date_time_ymd(2090, 1, 2));
        for (pair, problem) in [
            (expired, "expired at 2020-01-02T00:00:00Z"),
            (early, "is not valid before 2090-01-02T00:00:00Z"),
        ] {
            let error = check(pair).unwrap_err().to_string();
            let expected =
                format!("--tls-cert-file tls.crt: its first certificate {problem}: give one that is valid");
            assert!(error.starts_with(&expected), "{error}");
        }
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
