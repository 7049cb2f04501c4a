//! The lines of the audit log.

use std::{borrow::Cow, fmt, net::SocketAddr, time::SystemTime};

use serde::Serialize;

use super::limit::{Sum, WINDOW};
use crate::{
    access::{Action, Caller, CredentialId, RefusalReason},
    audit::{Operation, Origin, Subject},
    model::{MeshName, Namespace, Principal, User},
    telemetry::metrics::Listener,
};

/// The longest name of a principal, of a credential or of an object, in bytes.
const MAX_NAME: usize = 1_024;
/// The longest message, in bytes.
const MAX_MESSAGE: usize = 1_024;
/// Bytes of the groups of a user.
const MAX_GROUPS: usize = 4_096;

/// One line. What is unknown is absent.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::audit) struct Record<'a> {
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    listener: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    /// The address of refusals that were left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<PrincipalFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<CredentialFields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<ObjectFields<'a>>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Cow<'static, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(in crate::audit) enum Outcome {
    /// The server did what the caller asked for.
    Allowed,
    /// The caller was refused, for a reason.
    Refused(RefusalReason),
    /// A live call ended, for a reason.
    Ended(RefusalReason),
    /// The caller was allowed, and the server could not do it; the name of a gRPC code.
    Failed(String),
    /// Lines are missing, because they were recorded faster than they could be written.
    Lost,
}

#[derive(Debug, Serialize)]
struct PrincipalFields<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Cow<'a, str>>>,
}

#[derive(Debug, Serialize)]
struct CredentialFields<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spiffe: Option<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
struct ObjectFields<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mesh: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "use")]
    usage: Option<String>,
}

impl<'a> Record<'a> {
    pub(in crate::audit) fn new(outcome: &Outcome, message: &dyn fmt::Display) -> Self {
        let message = message.to_string();
        Self {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            outcome: outcome.as_str(),
            reason: outcome.reason(),
            message: (!message.is_empty()).then(|| bounded(&message, MAX_MESSAGE).into_owned()),
            ..Self::default()
        }
    }

    /// Refusals that were left out.
    pub(super) fn of_sum(sum: &Sum) -> Self {
        let message = format_args!("this many refusals were left out, in about {WINDOW:?}");
        Self {
            address: sum.address.map(|address| address.to_string()),
            left_out: Some(sum.suppressed),
            ..Self::new(&Outcome::Refused(sum.reason), &message)
        }
    }

    /// Lines that were lost.
    pub(super) fn of_lost(lines: u64) -> Self {
        let message = "this many lines were lost here: they came faster than they could be written";
        Self { left_out: Some(lines), ..Self::new(&Outcome::Lost, &message) }
    }

    pub(in crate::audit) fn origin(self, listener: Listener, origin: &Origin) -> Self {
        Self {
            listener: Some(listener.as_str()),
            request_id: Some(origin.request_id.to_string()),
            peer: origin.peer,
            ..self
        }
    }

    pub(in crate::audit) fn caller(self, caller: &'a Caller) -> Self {
        let credential = caller.credential().map(|credential| &credential.id);
        Self { principal: Some(caller.principal().into()), ..self }.credential(credential)
    }

    pub(in crate::audit) fn credential(self, id: Option<&'a CredentialId>) -> Self {
        Self { credential: Some(CredentialFields::of(id)), ..self }
    }

    pub(in crate::audit) fn action(self, action: Action) -> Self {
        Self { action: Some(action.as_str()), ..self }
    }

    pub(in crate::audit) fn operation(self, operation: Operation) -> Self {
        Self { operation: Some(operation.as_str()), ..self }.action(operation.action())
    }

    pub(in crate::audit) fn object(self, object: Subject<'a>) -> Self {
        Self { object: Some(object.into()), ..self }
    }

    /// The line, with its end.
    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl Outcome {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused(RefusalReason::NoPermission | RefusalReason::Mismatch) => "denied",
            Self::Refused(
                RefusalReason::Unauthenticated
                | RefusalReason::BadCredential
                | RefusalReason::Expired
                | RefusalReason::Revoked,
            ) => "unauthenticated",
            Self::Ended(_) => "ended",
            Self::Failed(_) => "failed",
            Self::Lost => "lost",
        }
    }

    fn reason(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Refused(reason) | Self::Ended(reason) => Some(reason.as_str().into()),
            Self::Failed(code) => Some(code.clone().into()),
            Self::Allowed | Self::Lost => None,
        }
    }
}

impl<'a> From<&'a Principal> for PrincipalFields<'a> {
    fn from(principal: &'a Principal) -> Self {
        let user = |kind, user: &'a User| Self {
            kind,
            name: Some(bounded(&user.name, MAX_NAME)),
            groups: Some(groups(&user.groups)),
        };
        match principal {
            Principal::Anonymous(_) => Self { kind: "anonymous", name: None, groups: None },
            Principal::Dataplane(grant) => {
                let name = bounded(&grant.to_string(), MAX_NAME).into_owned();
                Self { kind: "dataplane", name: Some(name.into()), groups: None }
            }
            Principal::User(of) => user("user", of),
            Principal::ClusterUser(of) => user("cluster user", of),
        }
    }
}

impl<'a> CredentialFields<'a> {
    fn of(id: Option<&'a CredentialId>) -> Self {
        let (kind, id, spiffe) = match id {
            None => ("none", None, None),
            Some(CredentialId::Token(id)) => ("token", Some(id.as_str()), None),
            Some(CredentialId::ServiceAccountToken(id)) => ("service account token", Some(id.as_str()), None),
            Some(CredentialId::Certificate { serial, spiffe }) => {
                ("certificate", Some(serial.as_str()), spiffe.as_deref())
            }
            Some(CredentialId::FrontProxy(name)) => ("front proxy", Some(name.as_str()), None),
        };
        let bounded = |text: &'a str| bounded(text, MAX_NAME);
        Self { kind, id: id.map(bounded), spiffe: spiffe.map(bounded) }
    }
}

impl<'a> From<Subject<'a>> for ObjectFields<'a> {
    fn from(subject: Subject<'a>) -> Self {
        let of = |kind| Self { kind, namespace: None, mesh: None, name: None, usage: None };
        match subject {
            Subject::Server => of("server"),
            Subject::Scope(namespace, mesh) => Self {
                namespace: namespace.map(Namespace::as_str),
                mesh: mesh.map(MeshName::as_str),
                ..of("scope")
            },
            Subject::Dataplane(key) => Self {
                namespace: Some(key.namespace.as_str()),
                mesh: Some(key.mesh.as_str()),
                name: Some(key.name.as_str()),
                ..of("dataplane")
            },
            Subject::SigningKey(usage, id) => {
                Self { name: Some(id.as_str()), usage: Some(usage.to_string()), ..of("signing key") }
            }
            Subject::Token(id) => Self { name: Some(id.as_str()), ..of("token") },
            Subject::MeshIdentity(key) => Self {
                namespace: Some(key.namespace.as_str()),
                name: Some(key.name.as_str()),
                ..of("mesh identity")
            },
        }
    }
}

/// The first groups, as many as have [`MAX_GROUPS`] bytes.
fn groups(groups: &[String]) -> Vec<Cow<'_, str>> {
    let mut bytes = 0;
    let within_limit = |group: &&String| {
        bytes += group.len();
        bytes <= MAX_GROUPS
    };
    let mut kept: Vec<_> =
        groups.iter().take_while(within_limit).map(|group| group.as_str().into()).collect();
    if kept.len() < groups.len() {
        kept.push("...".into());
    }
    kept
}

/// The text, or as much of it as has so many bytes.
fn bounded(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text.into();
    }
    format!("{}...", &text[..text.floor_char_boundary(max)]).into()
}
