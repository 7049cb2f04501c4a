//! The caller of each request.
//!
//! If kube-apiserver is the front proxy, it has authenticated the user of a request and authorized
//! the request (RBAC), and names the user in headers, which are trusted only if the connection
//! presents the front proxy's certificate. All other clients authenticate themselves, as on the
//! other listeners.

use std::sync::Arc;

use axum::http::{HeaderMap, header::HeaderName, request::Parts};
use rustls::pki_types::UnixTime;

use crate::{
    access::{Credential, CredentialId, RefusalReason},
    audit::{AccessControl, AuditedCaller},
    kube::protocol::status::Status,
    model::{AnonymousAccess, Principal, Quoted, User},
    net::{
        host::check_loopback_host,
        tls::{Authority, Current, PresentedCertificates, Unverified},
    },
};

/// Names the user on whose behalf the front proxy sends a request.
const REMOTE_USER: HeaderName = HeaderName::from_static("x-remote-user");
/// Names a group of that user.
const REMOTE_GROUP: HeaderName = HeaderName::from_static("x-remote-group");

/// Longest name of a user, in bytes.
const MAX_USER: usize = 1_024;
/// Bytes of the groups that are kept for a request. A watch keeps them for its duration. Further
/// groups are ignored, which gives the user no more rights.
const MAX_GROUPS: usize = 16 * 1_024;

/// Determines the caller of each request.
#[derive(Debug)]
pub(super) struct KubeAccess {
    pub(super) control: AccessControl,
    /// None if kube-apiserver is not in front of the server.
    pub(super) front_proxy: Option<FrontProxy>,
    /// Whether the server is on loopback for the clients of this machine. Then a request must be
    /// for a loopback name or address.
    pub(super) loopback: bool,
}

impl KubeAccess {
    /// Checks the host of a request.
    ///
    /// # Errors
    ///
    /// 403 if the host must be this machine's, and is not.
    pub(super) fn check_host(&self, request: &Parts) -> Result<(), Status> {
        if !self.loopback {
            return Ok(());
        }
        check_loopback_host(&request.uri, &request.headers).map_err(|host| {
            Status::forbidden(format!(
                "host {}: the Kubernetes API accepts requests from this machine only: use localhost, 127.0.0.1 \
                 or [::1]",
                Quoted(&host)
            ))
        })
    }

    /// Returns the caller of a request.
    ///
    /// # Errors
    ///
    /// 401 if the request has a credential that is not valid, or needs one and has none. That is
    /// recorded.
    pub(super) fn authenticate(&self, request: &Parts) -> Result<AuditedCaller, Status> {
        let (headers, extensions) = (&request.headers, &request.extensions);
        let Some(proxy) = &self.front_proxy else {
            // `kubectl -s` sends the token of its context, which another server has issued. Where
            // no client needs a credential, one that is not valid is no reason to reject the request.
            let anonymous = self.control.anonymous(headers, extensions);
            if *anonymous.principal() == Principal::Anonymous(AnonymousAccess::Full) {
                return Ok(self.control.identify(headers, extensions).unwrap_or(anonymous));
            }
            let caller = self.control.authenticate(headers, extensions);
            return caller.map_err(|error| Status::unauthorized(error.to_string()));
        };
        let certificates = extensions.get().cloned().unwrap_or_default();
        let reason = match proxy.verify(&certificates, UnixTime::now()) {
            Ok(name) => return self.proxied(proxy, &name, certificates, request),
            Err(reason) => reason,
        };
        let direct = self.control.authenticate(headers, extensions);
        match direct {
            Ok(caller) if *caller.principal() != Principal::Anonymous(AnonymousAccess::Public) => Ok(caller),
            Ok(caller) => {
                let message = format!("{reason}: {FRONT_PROXY_ONLY}");
                caller.no_credential(&message);
                Err(Status::unauthorized(message))
            }
            Err(error) => Err(Status::unauthorized(format!("{error}; {reason}: {FRONT_PROXY_ONLY}"))),
        }
    }

    /// The caller of a request that the front proxy has sent.
    fn proxied(
        &self,
        proxy: &FrontProxy,
        name: &str,
        certificates: PresentedCertificates,
        request: &Parts,
    ) -> Result<AuditedCaller, Status> {
        let (headers, extensions) = (&request.headers, &request.extensions);
        let user = remote_user(headers).map_err(|message| {
            self.control.bad_credential(headers, extensions, RefusalReason::BadCredential, message);
            Status::unauthorized(message)
        })?;
        let recheck = {
            let proxy = proxy.clone();
            move || match proxy.verify(&certificates, UnixTime::now()) {
                Ok(_) => Ok(()),
                Err(error) => {
                    Err(format!("the certificate of kube-apiserver is no longer accepted ({error})"))
                }
            }
        };
        let id = CredentialId::FrontProxy(name.to_owned());
        // Its certificate may expire while a watch lasts: the user's right does not depend on that.
        let credential = Credential { id, expires: None, recheck: Arc::new(recheck) };
        let caller = self.control.access().caller(Principal::ClusterUser(user), credential);
        Ok(self.control.accept(caller, headers, extensions))
    }
}

const FRONT_PROXY_ONLY: &str = "send requests to kube-apiserver, with the cluster's kubeconfig (this server trusts \
     kube-apiserver by --kube-client-ca-file and --kube-allowed-names), or authenticate with a user token or a \
     client certificate";

/// Reads the user of a request that the front proxy has sent.
fn remote_user(headers: &HeaderMap) -> Result<User, &'static str> {
    let mut users = headers.get_all(REMOTE_USER).iter().map(|user| str::from_utf8(user.as_bytes()));
    let name = match (users.next(), users.next()) {
        (Some(Ok(user)), None) if !user.is_empty() && user.len() <= MAX_USER => user.to_owned(),
        _ => return Err("the header X-Remote-User must name exactly one user"),
    };
    let mut bytes = 0;
    let within_limit = |group: &&str| {
        bytes += group.len();
        bytes <= MAX_GROUPS
    };
    let groups = headers.get_all(REMOTE_GROUP).iter();
    let groups = groups.filter_map(|group| str::from_utf8(group.as_bytes()).ok()).take_while(within_limit);
    Ok(User { name, groups: groups.map(str::to_owned).collect() })
}

/// How the front proxy is recognized.
#[derive(Debug, Clone)]
pub(super) struct FrontProxy {
    /// Issues its client certificate.
    pub(super) authority: Arc<Current<Authority>>,
    /// Common names that the certificate may have; empty if any.
    pub(super) allowed_names: Arc<[String]>,
}

/// Why a request does not count as the front proxy's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotFrontProxy {
    #[error(transparent)]
    Unverified(#[from] Unverified),
    #[error("the common name of the client certificate, {}, is not one of those allowed", Quoted(.0))]
    NameNotAllowed(String),
}

impl FrontProxy {
    /// Returns the common name of the front proxy's certificate.
    fn verify(&self, certificates: &PresentedCertificates, now: UnixTime) -> Result<String, NotFrontProxy> {
        let name = self.authority.get().verify(certificates, now)?;
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&name) {
            return Err(NotFrontProxy::NameNotAllowed(name));
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&[u8]]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), value[..].try_into().unwrap())).collect()
    }

    #[test]
    fn exactly_one_user_is_named() {
        let user = |values: &[&[u8]]| remote_user(&headers(&REMOTE_USER, values)).map(|user| user.name);
        assert_eq!(user(&[b"alice"]), Ok("alice".to_owned()));
        assert_eq!(user(&["ālice".as_bytes()]), Ok("ālice".to_owned()));
        let long = [b'a'; MAX_USER + 1];
        let (alice, bob): (&[u8], &[u8]) = (b"alice", b"bob");
        let wrong: [&[&[u8]]; 6] = [&[], &[b""], &[alice, bob], &[alice, alice], &[b"\xff"], &[&long]];
        for wrong in wrong {
            assert!(user(wrong).is_err(), "{wrong:?}");
        }
        assert!(user(&[&long[1..]]).is_ok());
    }

    #[test]
    fn groups_are_kept_up_to_a_limit() {
        let groups: Vec<_> = (0..1_000).map(|n| format!("group-{n:094}")).collect();
        let values: Vec<_> = groups.iter().map(String::as_bytes).collect();
        let mut request = headers(&REMOTE_GROUP, &values);
        request.insert(REMOTE_USER, "alice".parse().unwrap());
        let user = remote_user(&request).unwrap();
        assert_eq!(user.groups.len(), MAX_GROUPS / 100);
        assert_eq!(user.groups, groups[..user.groups.len()]);
    }
}
