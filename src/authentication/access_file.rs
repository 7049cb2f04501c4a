//! The access file: roles of users, rules that map client certificates to dataplanes, and public keys
//! of tokens. It is read again when it changes.

use std::{collections::BTreeSet, str};

use anyhow::Context as _;
use serde::Deserialize;

use super::{
    certificate::{Subject, UnusableCertificate},
    service_account::{Document as ServiceAccountTokens, Settings as ServiceAccountSettings},
    spiffe::{Fixed, SpiffeRule},
    token::{PublicKey, VerificationKey, VerificationKeys},
};
use crate::{
    access::{Policy, Role, RoleBinding},
    model::{Invalid, KeyId, KeyUse, MeshName, Namespace, Principal, WorkloadName},
};

/// The contents of an access file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessFile {
    /// The roles of users and groups.
    pub policy: Policy,
    /// Which SPIFFE IDs may register which dataplanes; the first rule that matches counts.
    pub certificates: Vec<SpiffeRule>,
    /// Public keys of tokens that are issued elsewhere.
    pub keys: Vec<VerificationKey>,
    /// Which `ServiceAccount` tokens of Kubernetes are accepted; none without these settings.
    pub service_accounts: Option<ServiceAccountSettings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    role_bindings: Vec<Binding>,
    #[serde(default)]
    dataplane_certificates: Vec<CertificateRule>,
    #[serde(default)]
    token_keys: Vec<TokenKey>,
    service_account_tokens: Option<ServiceAccountTokens>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Binding {
    role: Role,
    #[serde(default)]
    users: BTreeSet<String>,
    #[serde(default)]
    groups: BTreeSet<String>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default)]
    meshes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CertificateRule {
    spiffe_id: String,
    mesh: Option<String>,
    namespace: Option<String>,
    workload: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TokenKey {
    kid: String,
    #[serde(rename = "use")]
    usage: TokenUse,
    mesh: Option<String>,
    public_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenUse {
    /// Dataplane tokens, of one mesh or of all.
    Dataplane,
    /// User tokens.
    User,
}

impl AccessFile {
    /// Parses the YAML of an access file.
    ///
    /// # Errors
    ///
    /// If the text is no YAML, has an unknown field, or a value is invalid. The error names the
    /// field.
    pub fn parse(text: &[u8]) -> anyhow::Result<Self> {
        let text = str::from_utf8(text).context("is not UTF-8")?;
        let document: Option<Document> = serde_saphyr::from_str(text).map_err(|error| {
            // Its rendering adds an excerpt of several lines after the first.
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            anyhow::anyhow!("{}", first.trim_start_matches("error: ").to_owned())
        })?;
        let Some(document) = document else { return Ok(Self::default()) };
        let bindings = document.role_bindings.into_iter().enumerate();
        let bindings = bindings
            .map(|(at, binding)| binding.parse(&format!("roleBindings[{at}]")))
            .collect::<Result<_, _>>()?;
        let rules = document.dataplane_certificates.into_iter().enumerate();
        let certificates = rules
            .map(|(at, rule)| rule.parse(&format!("dataplaneCertificates[{at}]")))
            .collect::<Result<_, _>>()?;
        let keys = document.token_keys.into_iter().enumerate();
        let keys =
            keys.map(|(at, key)| key.parse(&format!("tokenKeys[{at}]"))).collect::<Result<Vec<_>, _>>()?;
        let mut unique = VerificationKeys::default();
        for (at, key) in keys.iter().enumerate() {
            if !unique.add(key.clone()) {
                anyhow::bail!(
                    "tokenKeys[{at}].kid: there is another key with KID {} for {}",
                    key.id,
                    key.usage
                );
            }
        }
        let service_accounts = document.service_account_tokens;
        let service_accounts = service_accounts.map(|it| it.parse("serviceAccountTokens")).transpose()?;
        Ok(Self { policy: Policy::new(bindings), certificates, keys, service_accounts })
    }

    /// The principal that a client certificate with this subject proves.
    ///
    /// # Errors
    ///
    /// If no rule maps a SPIFFE ID to dataplanes.
    pub fn principal(&self, subject: &Subject) -> Result<Principal, UnusableCertificate> {
        match subject {
            Subject::User(user) => Ok(Principal::User(user.clone())),
            Subject::Spiffe(id) => {
                let grant = self.certificates.iter().find_map(|rule| rule.grant(id));
                grant.map(Principal::Dataplane).ok_or_else(|| UnusableCertificate::NoRule(id.clone()))
            }
        }
    }
}

impl Binding {
    fn parse(self, field: &str) -> Result<RoleBinding, Invalid> {
        if self.users.is_empty() && self.groups.is_empty() {
            return Err(Invalid::new(field, "has no subject: set users, groups or both"));
        }
        if self.users.contains("") || self.groups.contains("") {
            return Err(Invalid::new(field, "the names of users and groups must not be empty"));
        }
        let each = |list: Vec<String>, name: &str| {
            list.into_iter().enumerate().map({
                let path = format!("{field}.{name}");
                move |(at, text)| (format!("{path}[{at}]"), text)
            })
        };
        let namespaces =
            each(self.namespaces, "namespaces").map(|(path, text)| Namespace::parse(&path, &text));
        let meshes = each(self.meshes, "meshes").map(|(path, text)| MeshName::parse(&path, &text));
        Ok(RoleBinding {
            role: self.role,
            users: self.users,
            groups: self.groups,
            namespaces: namespaces.collect::<Result<_, _>>()?,
            meshes: meshes.collect::<Result<_, _>>()?,
        })
    }
}

impl CertificateRule {
    fn parse(self, field: &str) -> Result<SpiffeRule, Invalid> {
        let path = |name| format!("{field}.{name}");
        let fixed = Fixed {
            mesh: self.mesh.map(|text| MeshName::parse(&path("mesh"), &text)).transpose()?,
            namespace: self.namespace.map(|text| Namespace::parse(&path("namespace"), &text)).transpose()?,
            workload: self
                .workload
                .map(|text| WorkloadName::parse_universal(&path("workload"), &text))
                .transpose()?,
        };
        SpiffeRule::parse(&path("spiffeId"), &self.spiffe_id, fixed)
    }
}

impl TokenKey {
    fn parse(self, field: &str) -> Result<VerificationKey, Invalid> {
        let path = |name| format!("{field}.{name}");
        let mesh = self.mesh.map(|text| MeshName::parse(&path("mesh"), &text)).transpose()?;
        let usage = match (self.usage, mesh) {
            (TokenUse::Dataplane, mesh) => KeyUse::dataplanes(mesh),
            (TokenUse::User, None) => KeyUse::Users,
            (TokenUse::User, Some(_)) => {
                return Err(Invalid::new(path("mesh"), "user tokens belong to no mesh: remove it"));
            }
        };
        let id = KeyId::parse(&path("kid"), &self.kid)?;
        let key = PublicKey::from_pem(self.public_key.as_bytes());
        let key = key.map_err(|error| Invalid::new(path("publicKey"), error.to_string()))?;
        Ok(VerificationKey { id, usage, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "
roleBindings:
- role: operator
  groups: [mesh-admins]
- role: viewer
  users: [prometheus, alice]
  namespaces: [shop]
  meshes: [default]
dataplaneCertificates:
- spiffeId: spiffe://example.com/ns/{namespace}/dp/{name}
  mesh: default
";

    #[test]
    fn a_file_is_parsed() {
        let file = AccessFile::parse(DOCUMENT.as_bytes()).unwrap();
        let [operator, viewer] = file.policy.bindings() else { panic!("{file:?}") };
        assert_eq!((operator.role, viewer.role), (Role::Operator, Role::Viewer));
        assert!(operator.groups.contains("mesh-admins") && viewer.users.contains("alice"));
        assert_eq!(viewer.meshes.len() + viewer.namespaces.len(), 2);
        assert!(file.certificates[0].grant("spiffe://example.com/ns/shop/dp/web-1").is_some());
        for empty in ["", "# nothing\n", "roleBindings: []\n"] {
            assert_eq!(AccessFile::parse(empty.as_bytes()).unwrap(), AccessFile::default(), "{empty:?}");
        }
    }

    #[test]
    fn errors_name_the_field() {
        for (text, problem) in [
            ("roleBindings: [{role: admin, users: [a]}]", "admin"),
            ("roleBindings: [{role: viewer}]", "roleBindings[0]: has no subject"),
            ("roleBindings: [{role: viewer, users: ['']}]", "must not be empty"),
            ("roleBindings: [{role: viewer, user: [a]}]", "user"),
            (
                "roleBindings: [{role: viewer, users: [a], namespaces: [a, B]}]",
                "roleBindings[0].namespaces[1]: \"B\"",
            ),
            ("dataplaneCertificates: [{spiffeId: 'spiffe://a/{name}'}]", "dataplaneCertificates[0].spiffeId"),
            ("dataplaneCertificates: [{spiffeId: 'spiffe://a/b', mesh: A}]", "dataplaneCertificates[0].mesh"),
            ("tokenKeys: [{kid: '1', use: all, publicKey: x}]", "all"),
            ("tokenKeys: [{kid: '', use: user, publicKey: x}]", "tokenKeys[0].kid"),
            ("tokenKeys: [{kid: '1', use: user, publicKey: x}]", "tokenKeys[0].publicKey"),
            ("tokenKeys: [{kid: '1', use: user, mesh: default, publicKey: x}]", "tokenKeys[0].mesh"),
            ("roles: []", "roles"),
            ("- a", "expected mapping"),
            ("\"", ""),
        ] {
            let error = format!("{:#}", AccessFile::parse(text.as_bytes()).unwrap_err());
            assert!(error.contains(problem), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(AccessFile::parse(b"\xff").is_err());
    }
}
