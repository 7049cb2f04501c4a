//! The result of a verification of a client's certificates, for further requests of its connection.

use std::{
    ops::RangeInclusive,
    ptr,
    sync::{Arc, Weak},
};

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use x509_cert::{Certificate, der::Decode as _};

/// Certificates that an authority has verified.
#[derive(Debug)]
pub(super) struct VerifiedChain {
    /// Identifies the authority. Weak, so that an open connection does not keep one that was replaced;
    /// its address is not used again while this exists.
    by: Weak<dyn ClientCertVerifier>,
    /// The seconds since 1970 at which all of the certificates are valid.
    valid: RangeInclusive<u64>,
}

impl VerifiedChain {
    /// None if the validity of a certificate can't be read: each request is verified then.
    pub(super) fn new(
        by: &Arc<dyn ClientCertVerifier>,
        certificates: &[CertificateDer<'static>],
    ) -> Option<Self> {
        let (mut from, mut until) = (0, u64::MAX);
        for certificate in certificates {
            let certificate = Certificate::from_der(certificate).ok()?;
            let validity = certificate.tbs_certificate().validity();
            from = from.max(validity.not_before.to_unix_duration().as_secs());
            until = until.min(validity.not_after.to_unix_duration().as_secs());
        }
        Some(Self { by: Arc::downgrade(by), valid: from..=until })
    }

    /// Whether this authority has verified them, and none has expired at `now`.
    pub(super) fn holds(&self, by: &Arc<dyn ClientCertVerifier>, now: UnixTime) -> bool {
        ptr::addr_eq(self.by.as_ptr(), Arc::as_ptr(by)) && self.valid.contains(&now.as_secs())
    }
}
