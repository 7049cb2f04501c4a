//! Which clients may send requests.
//!
//! Either the server authenticates nobody, and then accepts requests from this machine only;
//! or kube-apiserver is in front of it as the front proxy. Then kube-apiserver has authenticated
//! the client and authorized the request (RBAC), and names the user in a header, which is
//! trusted only if the connection presents the front proxy's certificate.

use std::sync::Arc;

use axum::http::{HeaderMap, header::HeaderName, request::Parts};
use rustls::pki_types::UnixTime;

use crate::{
    kube::protocol::status::Status,
    model::Quoted,
    net::{
        host::check_loopback_host,
        tls::{Authority, Current, PresentedCertificates, Unverified},
    },
};

/// Names the user on whose behalf the front proxy sends a request. Its headers for groups and
/// extras are not needed: kube-apiserver has authorized the request.
const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");

/// Which clients may send requests.
#[derive(Debug)]
pub(super) enum AccessPolicy {
    /// Clients on this machine, which connect to it by a loopback name or address.
    Loopback,
    /// The front proxy, on behalf of a user that it names.
    FrontProxy(FrontProxy),
}

impl AccessPolicy {
    /// Checks that the sender of a request may send it.
    ///
    /// # Errors
    ///
    /// 403 if the host is not this machine's, 401 if the client is not the front proxy.
    pub(super) fn check(&self, request: &Parts) -> Result<(), Status> {
        match self {
            Self::Loopback => check_loopback_host(&request.uri, &request.headers).map_err(|host| {
                Status::forbidden(format!(
                    "host {}: the Kubernetes API accepts requests from this machine only: use localhost, 127.0.0.1 \
                     or [::1]",
                    Quoted(&host)
                ))
            }),
            Self::FrontProxy(proxy) => {
                let certificates = request.extensions.get().cloned().unwrap_or_default();
                proxy.check(&certificates, &request.headers, UnixTime::now()).map_err(|reason| {
                    Status::unauthorized(format!(
                        "{reason}: this server accepts requests from kube-apiserver only (--kube-client-ca-file, \
                         --kube-allowed-names): send them to kube-apiserver, with the cluster's kubeconfig"
                    ))
                })
            }
        }
    }
}

/// How the front proxy is recognized.
#[derive(Debug)]
pub(super) struct FrontProxy {
    /// Issues its client certificate.
    pub(super) authority: Arc<Current<Authority>>,
    /// Common names that the certificate may have; empty if any.
    pub(super) allowed_names: Vec<String>,
}

/// Why a request does not count as the front proxy's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Unauthenticated {
    #[error(transparent)]
    Unverified(#[from] Unverified),
    #[error("the common name of the client certificate, {}, is not one of those allowed", Quoted(.0))]
    NameNotAllowed(String),
    #[error("the header X-Remote-User must name exactly one user")]
    NoUser,
}

impl FrontProxy {
    fn check(
        &self,
        certificates: &PresentedCertificates,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<(), Unauthenticated> {
        let name = self.authority.get().verify(certificates, now)?;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&name) {
            return Err(Unauthenticated::NameNotAllowed(name));
        }
        let mut users = headers.get_all(REMOTE_USER).iter();
        match (users.next(), users.next()) {
            (Some(user), None) if !user.is_empty() => Ok(()),
            _ => Err(Unauthenticated::NoUser),
        }
    }
}
