//! The result of a verification of a client's certificates, for further requests of its connection.

use std::{
    ops::Range,
    ptr,
    sync::{Arc, Weak},
};

use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use x509_cert::{Certificate, der::Decode as _};

use super::Unverified;

/// What an authority has found out about certificates. Also that it rejects them: a client could otherwise
/// have a hundred signatures verified for each request, without any credential.
#[derive(Debug)]
pub(super) struct VerifiedChain {
    /// Identifies the authority. Weak, so that an open connection does not keep one that was replaced;
    /// its address is not used again while this exists.
    by: Weak<dyn ClientCertVerifier>,
    result: Result<(), Unverified>,
    /// The seconds since 1970 in which no certificate begins or ends to be valid, so that the result is the
    /// same.
    holds: Range<u64>,
}

impl VerifiedChain {
    /// None if the result may change at any time, because the validity of a certificate can't be read.
    pub(super) fn new(
        by: &Arc<dyn ClientCertVerifier>,
        certificates: &[CertificateDer<'static>],
        now: UnixTime,
        result: Result<(), Unverified>,
    ) -> Option<Self> {
        let mut holds = 0..u64::MAX;
        for certificate in certificates {
            let Ok(certificate) = Certificate::from_der(certificate) else {
                // It can't prove anything later either.
                if result.is_err() {
                    continue;
                }
                return None;
            };
            let validity = certificate.tbs_certificate().validity();
            // The last second is part of the validity.
            let end = validity.not_after.to_unix_duration().as_secs() + 1;
            for change in [validity.not_before.to_unix_duration().as_secs(), end] {
                if change <= now.as_secs() {
                    holds.start = holds.start.max(change);
                } else {
                    holds.end = holds.end.min(change);
                }
            }
        }
        Some(Self { by: Arc::downgrade(by), result, holds })
    }

    /// The result of this authority at `now`, if it is known.
    pub(super) fn get(
        &self,
        by: &Arc<dyn ClientCertVerifier>,
        now: UnixTime,
    ) -> Option<Result<(), Unverified>> {
        (self.is_of(by) && self.holds.contains(&now.as_secs())).then(|| self.result.clone())
    }

    /// Whether this authority has verified them.
    pub(super) fn is_of(&self, by: &Arc<dyn ClientCertVerifier>) -> bool {
        ptr::addr_eq(self.by.as_ptr(), Arc::as_ptr(by))
    }

    /// Whether the authority still exists.
    pub(super) fn is_current(&self) -> bool {
        self.by.strong_count() > 0
    }
}
