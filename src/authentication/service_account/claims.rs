//! The claims of `ServiceAccount` tokens.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, de::IgnoredAny};

use super::ServiceAccountError;
use crate::{
    authentication::{
        json::{self, Object},
        token::{TokenError, check_times},
    },
    model::{DataplaneName, Namespace, TokenId},
};

/// How far the clock of kube-apiserver may be ahead: a kubelet hands out a token in the second in which it is
/// issued. kube-apiserver itself tolerates as much.
const CLOCK_AHEAD: Duration = Duration::from_mins(1);

/// Claims that are not verified.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::authentication) struct Claims {
    iss: String,
    aud: Audiences,
    exp: Option<u64>,
    nbf: Option<u64>,
    jti: Option<String>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Object<Kubernetes>,
}

/// One audience, or several (RFC 7519, 4.1.3).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Several(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kubernetes {
    namespace: String,
    pod: Option<Object<Pod>>,
    #[serde(rename = "serviceaccount")]
    service_account: Object<ServiceAccount>,
}

#[derive(Debug, Deserialize)]
struct Pod {
    name: String,
    uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ServiceAccount {
    name: String,
}

/// The Pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BoundPod {
    pub(super) namespace: Namespace,
    pub(super) name: DataplaneName,
    pub(super) uid: String,
    pub(super) service_account: String,
}

/// Tells `ServiceAccount` tokens from those of dataplanes and users, which have no such claims.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "kubernetes.io")]
    bound: Option<IgnoredAny>,
    /// Of the tokens in Secrets, which do not expire.
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    legacy: Option<IgnoredAny>,
}

impl Claims {
    /// Decodes the payload of a token; none if it is of another kind.
    ///
    /// # Errors
    ///
    /// If it has a member twice, or one of another type.
    pub(in crate::authentication) fn parse(payload: &[u8]) -> Result<Option<Self>, TokenError> {
        match serde_json::from_slice(payload) {
            Ok(Object(Kind { bound: None, legacy: None })) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        json::decode(payload)
            .map(Some)
            .map_err(|_invalid| TokenError::Malformed("could not JSON decode claim"))
    }

    pub(super) fn is_of_issuer(&self, issuer: &str) -> bool {
        self.iss == issuer
    }

    pub(super) fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Audiences::One(one) => one == audience,
            Audiences::Several(several) => several.iter().any(|one| one == audience),
        }
    }

    /// Checks that the token is valid at `now`, and returns when it ends.
    ///
    /// # Errors
    ///
    /// If it has expired or is not valid yet, or does not expire.
    pub(super) fn check_times(&self, now: SystemTime) -> Result<SystemTime, TokenError> {
        check_times(self.exp, self.nbf, now, CLOCK_AHEAD)
    }

    /// The token's identifier. Kubernetes before 1.30 issues tokens without one.
    ///
    /// # Errors
    ///
    /// If it is not a valid one.
    pub(super) fn id(&self) -> Result<Option<TokenId>, TokenError> {
        let id = self.jti.as_deref().map(|id| TokenId::parse("jti", id)).transpose();
        id.map_err(|_invalid| TokenError::Claim("jti is not a valid token id"))
    }

    /// The Pod that the token is bound to.
    ///
    /// # Errors
    ///
    /// If there is none, or its name or namespace is not valid.
    pub(super) fn pod(&self) -> Result<BoundPod, ServiceAccountError> {
        let Object(Kubernetes { namespace, pod, service_account }) = &self.kubernetes;
        let Some(Object(Pod { name, uid })) = pod else {
            return Err(ServiceAccountError::NoPod);
        };
        // An empty text would be the default namespace.
        let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
        let namespace = namespace.and_then(|namespace| Namespace::parse("namespace", namespace).ok());
        let namespace = namespace.ok_or(ServiceAccountError::PodName("the namespace"))?;
        let name = DataplaneName::parse("name", name);
        let name = name.map_err(|_invalid| ServiceAccountError::PodName("the name"))?;
        let service_account = service_account.0.name.clone();
        Ok(BoundPod { namespace, name, uid: uid.clone(), service_account })
    }
}
