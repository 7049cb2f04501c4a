//! The claims of dataplane tokens and user tokens, which are Kuma's.
//!
//! `Namespace` is the one claim that Kuma has not. An absent or empty claim restricts nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::TokenError;
use crate::{
    authentication::json::{self, present, present_or_null},
    model::{
        DataplaneGrant, DataplaneName, Invalid, KeyUse, MeshName, Namespace, Principal, Proof, TokenId, User,
        WorkloadName,
    },
};

/// The end of the year 9999, the latest time that texts can have.
const MAX_SECONDS: u64 = 253_402_300_799;
/// The times for which a token can be valid: ten years, with their leap days, are Kuma's default.
pub const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(3_653 * 24);
/// A new token is valid this long before it is issued, as in Kuma, for servers whose clock is behind.
const BACKDATED: Duration = Duration::from_secs(5);

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The holder.
    pub subject: Subject,
    /// Its identifier, for revocations and the audit log.
    pub id: TokenId,
    /// When it was issued. Times have whole seconds.
    pub issued: SystemTime,
    /// When it becomes valid.
    pub not_before: SystemTime,
    /// When it ends: at this time it is no longer valid.
    pub expires: SystemTime,
}

/// The holder of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Dataplanes.
    Dataplane(DataplaneGrant),
    /// A user.
    User(User),
}

impl From<Subject> for Principal {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Dataplane(grant) => Self::Dataplane(grant),
            Subject::User(user) => Self::User(user),
        }
    }
}

impl Claims {
    /// The claims of a new token with a random identifier. `valid_for` has whole seconds.
    pub fn new(subject: Subject, now: SystemTime, valid_for: Duration) -> Self {
        let issued = from_seconds(seconds(now)) - BACKDATED;
        let expires = from_seconds(seconds(now)) + valid_for;
        Self { subject, id: TokenId::random(), issued, not_before: issued, expires }
    }

    /// The claims as JSON, in Kuma's order.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let times = Times {
            exp: seconds(self.expires),
            nbf: seconds(self.not_before),
            iat: seconds(self.issued),
            jti: self.id.as_str(),
        };
        let json = match &self.subject {
            Subject::Dataplane(grant) => serde_json::to_vec(&dataplane_document(grant, times)),
            Subject::User(user) => {
                serde_json::to_vec(&UserDocument { name: &user.name, groups: &user.groups, times })
            }
        };
        json.expect("text and numbers can be written as JSON")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DataplaneDocument<'a> {
    name: &'a str,
    mesh: &'a str,
    tags: &'a BTreeMap<String, BTreeSet<String>>,
    r#type: &'static str,
    workload: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(flatten)]
    times: Times<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserDocument<'a> {
    name: &'a str,
    groups: &'a [String],
    #[serde(flatten)]
    times: Times<'a>,
}

#[derive(Serialize)]
struct Times<'a> {
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: &'a str,
}

fn dataplane_document<'a>(grant: &'a DataplaneGrant, times: Times<'a>) -> DataplaneDocument<'a> {
    DataplaneDocument {
        name: grant.name.as_ref().map_or("", DataplaneName::as_str),
        mesh: grant.mesh.as_ref().map_or("", MeshName::as_str),
        tags: &grant.tags,
        r#type: "",
        workload: grant.workload.as_ref().map_or("", WorkloadName::as_str),
        namespace: grant.namespace.as_ref().map(Namespace::as_str),
        times,
    }
}

/// Claims that are not verified. Their types are right.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RawClaims {
    #[serde(deserialize_with = "present")]
    name: Option<String>,
    #[serde(deserialize_with = "present")]
    mesh: Option<String>,
    #[serde(deserialize_with = "present")]
    namespace: Option<String>,
    #[serde(deserialize_with = "present_or_null")]
    tags: Option<BTreeMap<String, BTreeSet<String>>>,
    #[serde(deserialize_with = "present")]
    r#type: Option<String>,
    #[serde(deserialize_with = "present")]
    workload: Option<String>,
    #[serde(deserialize_with = "present_or_null")]
    groups: Option<Vec<String>>,
    #[serde(rename = "exp", deserialize_with = "present")]
    expires: Option<u64>,
    #[serde(rename = "nbf", deserialize_with = "present")]
    not_before: Option<u64>,
    #[serde(rename = "iat", deserialize_with = "present")]
    issued: Option<u64>,
    #[serde(rename = "jti", deserialize_with = "present")]
    id: Option<String>,
    #[serde(rename = "aud", deserialize_with = "present")]
    audience: Option<IgnoredAny>,
}

impl RawClaims {
    /// Decodes the payload of a token.
    ///
    /// # Errors
    ///
    /// If it is no JSON object, has a claim twice, or one of another type.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, TokenError> {
        json::decode(payload).map_err(|_invalid| TokenError::Malformed("could not JSON decode claim"))
    }

    /// The use of the key that may have signed the token.
    ///
    /// # Errors
    ///
    /// If the claims are not those of one kind of token.
    pub(super) fn usage(&self) -> Result<KeyUse, TokenError> {
        let of_dataplane = self.mesh.is_some()
            || self.tags.is_some()
            || self.r#type.is_some()
            || self.workload.is_some()
            || self.namespace.is_some();
        match (of_dataplane, self.groups.is_some()) {
            (true, false) => match restriction(self.mesh.as_deref(), MeshName::parse) {
                Ok(mesh) => Ok(KeyUse::dataplanes(mesh)),
                Err(_invalid) => Err(TokenError::Claim("Mesh is not a valid name")),
            },
            (false, true) => Ok(KeyUse::Users),
            _ => Err(TokenError::Claim("they are not those of a dataplane token or a user token")),
        }
    }

    /// Checks that the token is valid at `now`, and returns when it ends.
    ///
    /// # Errors
    ///
    /// If it has expired or is not valid yet, or does not expire.
    pub(super) fn check_times(&self, now: SystemTime) -> Result<SystemTime, TokenError> {
        check_times(self.expires, self.not_before, now, Duration::ZERO)
    }

    /// When the token ends.
    ///
    /// # Errors
    ///
    /// If it does not end, or after the year 9999.
    pub(super) fn end(&self) -> Result<SystemTime, TokenError> {
        end(self.expires).map(from_seconds)
    }

    /// The token's identifier.
    ///
    /// # Errors
    ///
    /// If it has no valid identifier: it could not be revoked.
    pub(super) fn id(&self) -> Result<TokenId, TokenError> {
        let id = self
            .id
            .as_deref()
            .ok_or(TokenError::Claim("token is missing required claim: jti claim is required"))?;
        TokenId::parse("jti", id).map_err(|_invalid| TokenError::Claim("jti is not a valid token id"))
    }

    /// The holder of the token.
    ///
    /// # Errors
    ///
    /// If a claim is invalid.
    pub(super) fn subject(self) -> Result<Subject, TokenError> {
        // The token has another recipient (RFC 7519, 4.1.3).
        if self.audience.is_some() {
            return Err(TokenError::Claim("token has invalid audience"));
        }
        if let Some(groups) = self.groups {
            let name = self.name.unwrap_or_default();
            let user = User::parse(&name, &groups);
            return user
                .map(Subject::User)
                .map_err(|_invalid| TokenError::Claim("Name or Groups are invalid"));
        }
        let invalid = TokenError::Claim;
        match self.r#type.as_deref() {
            None | Some("" | "dataplane") => {}
            Some("ingress") => return Err(invalid("ingress is not a valid proxy type")),
            Some("egress") => return Err(invalid("egress is not a valid proxy type")),
            Some(_) => return Err(invalid("Type is not a valid proxy type")),
        }
        let grant = DataplaneGrant {
            mesh: restriction(self.mesh.as_deref(), MeshName::parse)
                .map_err(|_| invalid("Mesh is not a valid name"))?,
            namespace: restriction(self.namespace.as_deref(), Namespace::parse)
                .map_err(|_| invalid("Namespace is not a valid name"))?,
            name: restriction(self.name.as_deref(), DataplaneName::parse)
                .map_err(|_| invalid("Name is not a valid name"))?,
            workload: restriction(self.workload.as_deref(), WorkloadName::parse_kubernetes)
                .map_err(|_| invalid("Workload is not a valid name"))?,
            tags: self.tags.unwrap_or_default(),
            ..DataplaneGrant::unrestricted(Proof::Token)
        };
        Ok(Subject::Dataplane(grant))
    }
}

/// Checks the claims `exp` and `nbf` at `now`, and returns when the token ends. `ahead` is how far the
/// issuer's clock may be ahead of this one.
///
/// # Errors
///
/// If the token has expired or is not valid yet, or does not expire.
pub(in crate::authentication) fn check_times(
    expires: Option<u64>,
    not_before: Option<u64>,
    now: SystemTime,
    ahead: Duration,
) -> Result<SystemTime, TokenError> {
    let expires = end(expires)?;
    if seconds(now) >= expires {
        return Err(TokenError::Expired);
    }
    if not_before.is_some_and(|not_before| seconds(now + ahead) < not_before) {
        return Err(TokenError::NotYetValid);
    }
    Ok(from_seconds(expires))
}

/// Checks the claim `exp`, in seconds since 1970.
fn end(expires: Option<u64>) -> Result<u64, TokenError> {
    let required = TokenError::Claim("token is missing required claim: exp claim is required");
    let expires = expires.ok_or(required)?;
    if expires > MAX_SECONDS {
        return Err(TokenError::Claim("exp is after the year 9999"));
    }
    Ok(expires)
}

/// Parses a name that an absent or empty claim does not restrict.
fn restriction<T>(
    claim: Option<&str>,
    parse: fn(&str, &str) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    claim.filter(|name| !name.is_empty()).map(|name| parse("", name)).transpose()
}

/// Seconds since 1970; 0 before it.
fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn from_seconds(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
