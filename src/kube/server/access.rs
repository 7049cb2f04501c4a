//! Who may ask.
//!
//! Either nobody is authenticated, and then only this machine is served; or
//! kube-apiserver stands in front, has authenticated its client and authorized what
//! it asks (RBAC is its affair, and is not asked for again here), and says who the
//! client is in headers that are believed from nobody else.

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

/// In which a front proxy says who asks. What it says beside (groups, extras) would
/// be of use to who authorizes.
const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");

/// Who is let in.
#[derive(Debug)]
pub(crate) enum Access {
    /// Whoever asks for this machine by its own name.
    ThisMachine,
    /// The front proxy, for a user that it names.
    FrontProxy(FrontProxy),
}

impl Access {
    /// Whether whoever sent this request is let in.
    pub(crate) fn check(&self, request: &Parts) -> Result<(), Status> {
        match self {
            Self::ThisMachine => check_host(&request.uri, &request.headers),
            Self::FrontProxy(proxy) => {
                let shown = request.extensions.get().cloned().unwrap_or_default();
                proxy.check(&shown, &request.headers, UnixTime::now()).map_err(|stranger| {
                    Status::unauthorized(format!(
                        "{stranger}: this server answers to kube-apiserver alone (--kube-client-ca-file, \
                         --kube-allowed-names): ask through it, with the cluster's kubeconfig"
                    ))
                })
            }
        }
    }
}

/// A page of the web can have a browser ask a server on this machine, by a name
/// that leads here (DNS rebinding), and read the answer. It cannot choose another
/// name for it; so whoever comes must have asked for this machine by its own.
fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Status> {
    let said = headers.get(HOST).map(|host| host.to_str().unwrap_or("?"));
    let Some(host) = uri.authority().map(HostAndPort::as_str).or(said) else {
        return Ok(()); // HTTP/1.0, which no browser speaks
    };
    let refused = || {
        Status::forbidden(format!(
            "host {}: the Kubernetes API is served to this machine alone: ask for it as localhost, 127.0.0.1 or [::1]",
            Quoted(host)
        ))
    };
    let name = host.parse::<HostAndPort>().map_err(|_| refused())?;
    let name = name.host().trim_start_matches('[').trim_end_matches(']');
    let local =
        name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
    if local { Ok(()) } else { Err(refused()) }
}

/// Knows kube-apiserver by its certificate.
#[derive(Debug)]
pub(crate) struct FrontProxy {
    pub(crate) authority: Arc<Current<Authority>>,
    /// Any, if there are none.
    pub(crate) allowed_names: Vec<String>,
}

/// Why somebody is not the front proxy, speaking for a user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Stranger {
    #[error(transparent)]
    Unverified(#[from] Unverified),
    #[error("the common name of the client certificate, {}, is not one of those allowed", Quoted(.0))]
    NotAllowed(String),
    #[error("no one user is named by the header X-Remote-User")]
    NoUser,
}

impl FrontProxy {
    fn check(
        &self,
        shown: &PresentedCertificates,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<(), Stranger> {
        let name = self.authority.get().verify(shown, now)?;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&name) {
            return Err(Stranger::NotAllowed(name));
        }
        let mut users = headers.get_all(REMOTE_USER).iter();
        match (users.next(), users.next()) {
            (Some(user), None) if !user.is_empty() => Ok(()),
            _ => Err(Stranger::NoUser),
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
    fn only_this_machines_own_names_are_answered_to() {
        for own in ["localhost", "LocalHost:7102", "127.0.0.1:7102", "127.3.4.5", "[::1]:7102", "[::1]"] {
            assert!(host(own).is_ok(), "{own}");
        }
        for other in
            ["evil.example", "evil.example:7102", "127.0.0.1.evil.example", "10.0.0.1", "", "a b", "::1"]
        {
            assert!(host(other).is_err(), "{other}");
        }
        assert!(check_host(&Uri::from_static("/apis"), &HeaderMap::new()).is_ok());
        let asked_as_proxy = Uri::from_static("http://evil.example/apis");
        let own = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        assert!(check_host(&asked_as_proxy, &own).is_err());
    }
}
