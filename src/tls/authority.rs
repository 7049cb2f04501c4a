//! Whom an authority vouches for.

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
    serve::Shown,
};

/// X.520's `commonName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Certificates that others are issued by.
#[derive(Debug)]
pub(crate) struct Authority(Arc<dyn ClientCertVerifier>);

/// Why a client is not who it may want to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unverified {
    #[error("it has shown no client certificate")]
    NoCertificate,
    #[error("its client certificate is not one of the authority's ({0})")]
    NotIssued(String),
    #[error("its client certificate must have exactly one common name, and has {0}")]
    CommonNames(usize),
}

/// An authority, from its file.
pub(crate) fn authority([(file, text)]: [(&PemFile, &Text); 1]) -> anyhow::Result<Authority> {
    let mut roots = RootCertStore::empty();
    for certificate in file.certificates(text)? {
        roots.add(certificate).with_context(|| {
            format!("{}: one of its certificates can't be an authority: give those of a CA", file.place())
        })?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
    Ok(Authority(verifier))
}

impl Authority {
    /// The common name of a client whose certificate, at this time, is one that
    /// the authority has issued, for clients.
    pub(crate) fn verify(&self, shown: &Shown, now: UnixTime) -> Result<String, Unverified> {
        let [leaf, issuers @ ..] = shown.certificates() else {
            return Err(Unverified::NoCertificate);
        };
        let verified = self.0.verify_client_cert(leaf, issuers, now);
        verified.map_err(|error| Unverified::NotIssued(error.to_string()))?;
        common_name(leaf)
    }
}

/// The only one that there is: of several, another reader could take another.
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
