//! Client certificates, verified against a certificate authority.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::{
    RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use x509_cert::{
    Certificate,
    der::{Decode as _, asn1::ObjectIdentifier},
    ext::pkix::name::DirectoryString,
};

use super::{
    pem::{PemFile, Text},
    serve::PresentedCertificates,
    verified_chain::VerifiedChain,
};

/// X.520's `commonName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// A certificate authority: one or more root certificates.
#[derive(Debug)]
pub(crate) struct Authority(Arc<dyn ClientCertVerifier>);

/// Why a client's certificate was not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unverified {
    #[error("it presented no client certificate")]
    NoCertificate,
    #[error("its client certificate is not one of the authority's ({0})")]
    NotIssued(String),
    #[error("its client certificate must have exactly one common name, and has {0}")]
    CommonNames(usize),
}

/// Parses the root certificates of a PEM file.
///
/// # Errors
///
/// If the file has no certificate, or one that can't be an authority.
pub(crate) fn authority([(file, text)]: [(&PemFile, &Text); 1]) -> anyhow::Result<Authority> {
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates(text)? {
        roots.add(certificate).with_context(|| {
            format!("{}: one of its certificates can't be an authority: give those of a CA", file.source())
        })?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
    Ok(Authority(verifier))
}

impl Authority {
    /// Verifies that this authority issued the client's certificate, for clients, and that it
    /// is valid at `now`. Returns the certificate's common name.
    ///
    /// # Errors
    ///
    /// If there is no certificate, it is not valid, or it has not exactly one common name.
    pub(crate) fn verify(
        &self,
        presented: &PresentedCertificates,
        now: UnixTime,
    ) -> Result<String, Unverified> {
        common_name(self.verify_chain(presented, now)?)
    }

    /// As [`Authority::verify`], and returns the client's own certificate. Signatures are verified once for
    /// each connection, and again when the authority is replaced or the validity of a certificate changes.
    ///
    /// # Errors
    ///
    /// If there is no certificate, or it is not valid.
    pub(crate) fn verify_chain<'a>(
        &self,
        presented: &'a PresentedCertificates,
        now: UnixTime,
    ) -> Result<&'a CertificateDer<'static>, Unverified> {
        let [leaf, issuers @ ..] = presented.certificates() else {
            return Err(Unverified::NoCertificate);
        };
        let result = presented.verified(&self.0, now).unwrap_or_else(|| {
            let verified = self.0.verify_client_cert(leaf, issuers, now);
            let result = verified.map(drop).map_err(|error| Unverified::NotIssued(error.to_string()));
            let certificates = presented.certificates();
            presented.set_verified(&self.0, VerifiedChain::new(&self.0, certificates, now, result.clone()));
            result
        });
        result.map(|()| leaf)
    }
}

/// Several common names are an error, because other software could read another one of them.
fn common_name(leaf: &CertificateDer<'_>) -> Result<String, Unverified> {
    let unreadable = |error: x509_cert::der::Error| Unverified::NotIssued(error.to_string());
    let certificate = Certificate::from_der(leaf).map_err(unreadable)?;
    let subject = certificate.tbs_certificate().subject();
    let mut names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let Some(name) = names.next() else {
        return Err(Unverified::CommonNames(0));
    };
    let more = names.count();
    if more > 0 {
        return Err(Unverified::CommonNames(1 + more));
    }
    let name = DirectoryString::try_from(&name.value).map_err(unreadable)?;
    Ok(name.value().into_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, date_time_ymd};
    use rustls::{
        DigitallySignedStruct, DistinguishedName, SignatureScheme, client::danger::HandshakeSignatureValid,
        server::danger::ClientCertVerified,
    };

    use super::*;
    use crate::net::tls::pki;

    fn from_pem(pem: &str) -> anyhow::Result<Authority> {
        authority([(&PemFile::new("kube-client-ca-file", "ca.crt"), &pem.into())])
    }

    fn presented(pem: &str) -> PresentedCertificates {
        let file = PemFile::new("", "");
        PresentedCertificates::new(Some(&file.certificates(pem.as_bytes()).unwrap()))
    }

    fn now() -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_hours(500_000))
    }

    #[test]
    fn a_certificate_of_the_authority_yields_its_common_name() {
        let ca = pki::Authority::new();
        let authority = from_pem(&ca.pem).unwrap();
        let client = ca.client("front-proxy-client");
        assert_eq!(authority.verify(&presented(&client.cert), now()), Ok("front-proxy-client".to_owned()));
        let both = from_pem(&(pki::Authority::new().pem + &ca.pem)).unwrap();
        assert!(
            both.verify(&presented(&client.cert), now()).is_ok(),
            "one of two roots, as during a rotation"
        );
    }

    #[test]
    fn missing_foreign_expired_and_server_certificates_are_rejected() {
        let ca = pki::Authority::new();
        let authority = from_pem(&ca.pem).unwrap();
        assert_eq!(
            authority.verify(&PresentedCertificates::default(), now()),
            Err(Unverified::NoCertificate)
        );
        let until = |year| move |params: &mut CertificateParams| params.not_after = date_time_ymd(year, 1, 1);
        let from = |params: &mut CertificateParams| params.not_before = date_time_ymd(2040, 1, 1);
        let for_servers = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        };
        for (pair, why) in [
            (pki::Authority::new().client("front-proxy-client"), "another authority of the same name"),
            (ca.client_with("front-proxy-client", until(2020)), "expired"),
            (ca.client_with("front-proxy-client", from), "not valid yet"),
            (ca.client_with("front-proxy-client", for_servers), "a server's"),
        ] {
            let verified = authority.verify(&presented(&pair.cert), now());
            assert!(matches!(verified, Err(Unverified::NotIssued(_))), "{why}: {verified:?}");
        }
        assert!(authority.verify(&presented(&ca.client_with("x", until(2030)).cert), now()).is_ok());
    }

    /// Counts the verifications of an authority.
    #[derive(Debug)]
    struct Counted(Arc<dyn ClientCertVerifier>, AtomicUsize);

    impl ClientCertVerifier for Counted {
        fn root_hint_subjects(&self) -> &[DistinguishedName] {
            self.0.root_hint_subjects()
        }

        fn verify_client_cert(
            &self,
            leaf: &CertificateDer<'_>,
            issuers: &[CertificateDer<'_>],
            now: UnixTime,
        ) -> Result<ClientCertVerified, rustls::Error> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.verify_client_cert(leaf, issuers, now)
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            unreachable!("a part of the handshake")
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            unreachable!("a part of the handshake")
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.supported_verify_schemes()
        }
    }

    fn counted(ca: &pki::Authority) -> (Authority, Arc<Counted>) {
        let counted = Arc::new(Counted(from_pem(&ca.pem).unwrap().0, AtomicUsize::new(0)));
        (Authority(Arc::clone(&counted) as Arc<dyn ClientCertVerifier>), counted)
    }

    #[test]
    fn a_connection_is_verified_once_by_each_authority() {
        let ca = pki::Authority::new();
        let ((authority, verified), (replaced, verified_again)) = (counted(&ca), counted(&ca));
        let client = presented(&ca.client("front-proxy-client").cert);
        for _ in 0..3 {
            assert!(authority.verify(&client.clone(), now()).is_ok());
        }
        assert_eq!(verified.1.load(Ordering::Relaxed), 1);
        // The same root in a new file is a new authority.
        assert!(replaced.verify(&client, now()).is_ok());
        assert_eq!(verified_again.1.load(Ordering::Relaxed), 1);
        // One that has not issued it rejects it, whatever another one has verified.
        let foreign = from_pem(&pki::Authority::new().pem).unwrap();
        for _ in 0..2 {
            assert!(matches!(foreign.verify(&client, now()), Err(Unverified::NotIssued(_))));
        }
        // Another connection with the same certificate.
        assert!(authority.verify(&presented(&ca.client("front-proxy-client").cert), now()).is_ok());
        assert_eq!(verified.1.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_verified_certificate_is_rejected_when_it_is_not_valid_any_more_or_not_yet() {
        let (ca, other) = (pki::Authority::new(), pki::Authority::new());
        let authority = from_pem(&ca.pem).unwrap();
        let at = |year: i32, month: u8| {
            let time = date_time_ymd(year, month, 1).unix_timestamp();
            UnixTime::since_unix_epoch(Duration::from_secs(time.cast_unsigned()))
        };
        let between = |from: i32, until: i32| {
            move |params: &mut CertificateParams| {
                params.not_before = date_time_ymd(from, 1, 1);
                params.not_after = date_time_ymd(until, 1, 1);
            }
        };
        let client = ca.client_with("client", between(2027, 2030)).cert;
        let client = presented(&client);
        for (year, month, is_valid) in
            [(2028, 1, true), (2030, 1, true), (2030, 2, false), (2029, 1, true), (2026, 12, false)]
        {
            assert_eq!(authority.verify(&client, at(year, month)).is_ok(), is_valid, "{year}-{month}");
        }
        // The certificates of its issuers count too.
        let leaf = ca.client_with("client", between(2027, 2040)).cert;
        let client = presented(&(leaf + &other.client_with("issuer", between(2027, 2030)).cert));
        let chain = VerifiedChain::new(&authority.0, client.certificates(), at(2029, 1), Ok(())).unwrap();
        for (year, month, result) in
            [(2029, 1, Some(Ok(()))), (2030, 2, None), (2026, 12, None), (2027, 2, Some(Ok(())))]
        {
            assert_eq!(chain.get(&authority.0, at(year, month)), result, "{year}-{month}");
        }
    }

    #[test]
    fn a_rejected_certificate_is_not_verified_for_each_request() {
        let (ca, other) = (pki::Authority::new(), pki::Authority::new());
        let ((authority, verified), (second, verified_by_second)) = (counted(&ca), counted(&ca));
        let later = |params: &mut CertificateParams| params.not_before = date_time_ymd(2040, 1, 1);
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for cert in [other.client("client").cert + garbage, ca.client_with("client", later).cert] {
            let (client, before) = (presented(&cert), verified.1.load(Ordering::Relaxed));
            for _ in 0..3 {
                // Two authorities, as on the listener of the Kubernetes API.
                for authority in [&authority, &second] {
                    let rejected = authority.verify(&client.clone(), now());
                    assert!(matches!(rejected, Err(Unverified::NotIssued(_))), "{rejected:?}");
                }
            }
            assert_eq!(verified.1.load(Ordering::Relaxed) - before, 1);
        }
        assert_eq!(verified_by_second.1.load(Ordering::Relaxed), 2);
        // The second one is valid later, on the same connection.
        let client = presented(&ca.client_with("client", later).cert);
        assert!(authority.verify(&client, now()).is_err());
        let in_2041 = UnixTime::since_unix_epoch(Duration::from_hours(625_000));
        assert!(authority.verify(&client, in_2041).is_ok());
    }

    #[test]
    fn a_certificate_must_have_exactly_one_common_name() {
        let ca = pki::Authority::new();
        let authority = from_pem(&ca.pem).unwrap();
        let second = |params: &mut CertificateParams| {
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "front-proxy-client");
        };
        let none = |params: &mut CertificateParams| {
            params.distinguished_name.remove(DnType::CommonName);
            params.distinguished_name.push(DnType::OrganizationName, "front-proxy-client");
        };
        for (pair, names) in [(ca.client_with("first", second), 2), (ca.client_with("", none), 0)] {
            let verified = authority.verify(&presented(&pair.cert), now());
            assert_eq!(verified, Err(Unverified::CommonNames(names)));
        }
    }

    #[test]
    fn errors_name_the_setting_and_the_file() {
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (text, problem) in [
            ("", "has no certificate"),
            ("hello", "has no certificate"),
            (garbage, "can't be an authority"),
            ("-----BEGIN CERTIFICATE-----\nAAAA", "is no PEM"),
        ] {
            let error = format!("{:#}", from_pem(text).unwrap_err());
            assert!(error.starts_with("--kube-client-ca-file ca.crt: "), "{error}");
            assert!(error.contains(problem), "{problem:?} is not in {error:?}");
        }
    }
}
