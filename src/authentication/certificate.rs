//! Client certificates: what a verified certificate states about its holder.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{Decode as _, asn1::ObjectIdentifier},
    ext::pkix::{
        SubjectAltName,
        name::{DirectoryString, GeneralName},
    },
};

use crate::model::{Quoted, User};

/// X.520's `commonName` and `organizationName`.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
/// The most groups of a user.
const MAX_GROUPS: usize = 64;

/// The holder of a certificate, and how long the certificate is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name of the holder.
    pub subject: Subject,
    /// The serial number, as openssl prints it.
    pub serial: String,
    /// When the certificate ends.
    pub expires: SystemTime,
}

/// The subject that a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The URI of an X.509-SVID.
    Spiffe(String),
    /// The user and groups that Kubernetes reads from a certificate: `CN` and each `O`.
    User(User),
}

/// Why a certificate names no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableCertificate {
    /// It can't be parsed.
    #[error("the client certificate can't be read ({0})")]
    Unreadable(String),
    /// An X.509-SVID has exactly one URI.
    #[error(
        "the client certificate has {0} URI names, and if any, must have exactly one, a SPIFFE ID (spiffe://...)"
    )]
    Uris(usize),
    /// Software that reads another of several names would see another user.
    #[error(
        "the client certificate must have a SPIFFE ID or exactly one common name, and has {0} common names"
    )]
    CommonNames(usize),
    /// No user has so many groups.
    #[error("the client certificate has more than {MAX_GROUPS} organizations")]
    Organizations,
    /// No rule maps its SPIFFE ID to dataplanes.
    #[error("no rule of dataplaneCertificates in the access file matches the client certificate's {}", Quoted(.0))]
    NoRule(String),
}

impl From<x509_cert::der::Error> for UnusableCertificate {
    fn from(error: x509_cert::der::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl Holder {
    /// Reads a certificate that was verified.
    ///
    /// # Errors
    ///
    /// If it does not name exactly one holder.
    pub fn of(leaf: &CertificateDer<'_>) -> Result<Self, UnusableCertificate> {
        let certificate = Certificate::from_der(leaf)?;
        let tbs = certificate.tbs_certificate();
        let uris = uris(&certificate)?;
        let subject = match uris.as_slice() {
            [] => Subject::User(user(&certificate)?),
            [id] if id.starts_with("spiffe://") => Subject::Spiffe(id.clone()),
            uris => return Err(UnusableCertificate::Uris(uris.len())),
        };
        let serial = tbs.serial_number().to_string();
        let expires = tbs.validity().not_after.to_unix_duration();
        // The last second is part of the validity.
        let expires = SystemTime::UNIX_EPOCH + expires + Duration::from_secs(1);
        Ok(Self { subject, serial, expires })
    }
}

fn uris(certificate: &Certificate) -> Result<Vec<String>, UnusableCertificate> {
    let Some((_, names)) = certificate.tbs_certificate().get_extension::<SubjectAltName>()? else {
        return Ok(Vec::new());
    };
    let uri = |name: &GeneralName| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
        _ => None,
    };
    Ok(names.0.iter().filter_map(uri).collect())
}

fn user(certificate: &Certificate) -> Result<User, UnusableCertificate> {
    let attributes = |oid| -> Result<Vec<String>, UnusableCertificate> {
        let subject = certificate.tbs_certificate().subject();
        let values = subject.iter().filter(|attribute| attribute.oid == oid);
        values
            .map(|attribute| Ok(DirectoryString::try_from(&attribute.value)?.value().into_owned()))
            .collect()
    };
    let (names, groups) = (attributes(COMMON_NAME)?, attributes(ORGANIZATION)?);
    if groups.len() > MAX_GROUPS {
        return Err(UnusableCertificate::Organizations);
    }
    match <[String; 1]>::try_from(names) {
        Ok([name]) if !name.is_empty() => Ok(User { name, groups }),
        Ok(_) => Err(UnusableCertificate::CommonNames(0)),
        Err(names) => Err(UnusableCertificate::CommonNames(names.len())),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, SanType, date_time_ymd};
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::net::tls::pki;

    fn holder(change: impl FnOnce(&mut CertificateParams)) -> Result<Holder, UnusableCertificate> {
        let pair = pki::Authority::new().client_with("alice", change);
        Holder::of(&CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn a_user_has_the_groups_of_its_organizations() {
        let holder = holder(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "mesh-admins");
            params.not_after = date_time_ymd(2030, 1, 1);
        });
        let Holder { subject, serial, expires } = holder.unwrap();
        assert_eq!(subject, Subject::User(User { name: "alice".into(), groups: vec!["mesh-admins".into()] }));
        assert!(serial.split(':').all(|byte| byte.len() == 2), "{serial}");
        assert_eq!(expires.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_893_456_001);
    }

    #[test]
    fn a_spiffe_id_is_preferred_to_the_common_name() {
        let id = "spiffe://example.com/ns/shop/dp/web-1";
        let holder = holder(|params| params.subject_alt_names = vec![uri(id)]);
        assert_eq!(holder.unwrap().subject, Subject::Spiffe(id.into()));
    }

    #[test]
    fn a_certificate_with_several_holders_or_none_is_not_used() {
        let several = holder(|params| {
            params.subject_alt_names = vec![uri("spiffe://a/b"), uri("spiffe://a/c")];
        });
        assert_eq!(several, Err(UnusableCertificate::Uris(2)));
        let other = holder(|params| params.subject_alt_names = vec![uri("https://a/b")]);
        assert_eq!(other, Err(UnusableCertificate::Uris(1)));
        let unnamed = holder(|params| params.distinguished_name = DistinguishedName::new());
        assert_eq!(unnamed.map(drop), Err(UnusableCertificate::CommonNames(0)));
        let empty = holder(|params| params.distinguished_name.push(DnType::CommonName, ""));
        assert_eq!(empty.map(drop), Err(UnusableCertificate::CommonNames(0)));
    }
}
