//! Which clients may send requests.
//!
//! Either the server authenticates nobody, and then accepts requests from this machine only;
//! or kube-apiserver is in front of it as the front proxy. Then kube-apiserver has authenticated
//! the client and authorized the request (RBAC), and names the user in a header, which is
//! trusted only if the connection presents the front proxy's certificate.

use std::{net::IpAddr, sync::Arc};

use axum::http::{
    HeaderMap, Uri,
    header::{HOST, HeaderName},
    request::Parts,
    uri::Authority as HostAndPort,
};
use rustls::pki_types::UnixTime;

use crate::{
    kube::protocol::status::Status,
    model::Quoted,
    net::tls::{Authority, Current, PresentedCertificates, Unverified},
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
            Self::Loopback => check_host(&request.uri, &request.headers),
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

/// Rejects requests for other hosts than this machine. A web page can make a browser send
/// requests to a server on this machine through a DNS name that resolves to it (DNS rebinding),
/// and read the responses; but it can't change the host that the browser sends.
fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Status> {
    let header = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let Some(host) = uri.authority().map(HostAndPort::as_str).or(header) else {
        return Ok(()); // HTTP/1.0, which no browser uses
    };
    let rejection = || {
        Status::forbidden(format!(
            "host {}: the Kubernetes API accepts requests from this machine only: use localhost, 127.0.0.1 or [::1]",
            Quoted(host)
        ))
    };
    let name = host.parse::<HostAndPort>().map_err(|_| rejection())?;
    let name = name.host().trim_start_matches('[').trim_end_matches(']');
    let local =
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if local { Ok(()) } else { Err(rejection()) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> Result<(), Status> {
        check_host(&Uri::from_static("/apis"), &HeaderMap::from_iter([(HOST, host.parse().unwrap())]))
    }

    #[test]
    fn only_hosts_of_this_machine_are_accepted() {
        for local in ["localhost", "LocalHost:7102", "127.0.0.1:7102", "127.3.4.5", "[::1]:7102", "[::1]"] {
            assert!(host(local).is_ok(), "{local}");
        }
        for other in
            ["evil.example", "evil.example:7102", "127.0.0.1.evil.example", "10.0.0.1", "", "a b", "::1"]
        {
            assert!(host(other).is_err(), "{other}");
        }
        assert!(check_host(&Uri::from_static("/apis"), &HeaderMap::new()).is_ok());
        let absolute = Uri::from_static("http://evil.example/apis");
        let local = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        assert!(check_host(&absolute, &local).is_err());
    }
}
