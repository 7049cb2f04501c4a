//! Why a `ServiceAccount` token is not accepted.

use crate::{authentication::token::TokenError, model::KeyId};

/// Why a `ServiceAccount` token is not accepted. The texts contain nothing of the token but the
/// identifier of its key, which is a valid one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceAccountError {
    /// It breaks a rule for all tokens.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The server accepts no such tokens.
    #[error("this server accepts no ServiceAccount tokens: set serviceAccountTokens in its access file")]
    NotAccepted,
    /// The keys of the cluster are not known yet.
    #[error("the server has not received the cluster's keys for ServiceAccount tokens yet: try again")]
    NoKeys,
    /// Another issuer has issued it.
    #[error("the ServiceAccount token is not of the issuer {0:?}")]
    Issuer(String),
    /// The cluster has no such key.
    #[error(
        "there is no key with KID {0} for ServiceAccount tokens of the cluster; if it is new, try again in 10 s"
    )]
    UnknownKey(KeyId),
    /// The call does not wait for the keys, because too many do.
    #[error("too many calls wait for the cluster's keys for ServiceAccount tokens: try again in 10 s")]
    TooManyWait,
    /// It was issued for others.
    #[error(
        "the ServiceAccount token is not for the audience {0:?}: project a token with that audience into the Pod"
    )]
    Audience(String),
    /// It does not name a Pod.
    #[error(
        "the ServiceAccount token is not bound to a Pod: use a token of a projected volume of the Pod \
         (serviceAccountToken)"
    )]
    NoPod,
    /// It names a Pod whose name no dataplane can have.
    #[error("could not parse token: token has invalid claims: {0} of the Pod is not a valid name")]
    PodName(&'static str),
    /// kube-apiserver does not accept it.
    #[error(
        "kube-apiserver rejects the ServiceAccount token: the Pod, its ServiceAccount or the token may have been \
         deleted"
    )]
    Rejected,
    /// The access file has changed: the token was accepted by rules that no longer hold.
    #[error("the access file no longer accepts the ServiceAccount token")]
    RulesChanged,
}
