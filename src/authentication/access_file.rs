//! The access file: who has which role, and which certificates belong to which dataplanes. It is
//! read again when it changes.

use std::{collections::BTreeSet, str};

use anyhow::Context as _;
use serde::Deserialize;

use super::spiffe::{Fixed, SpiffeRule};
use crate::{
    access::{Policy, Role, RoleBinding},
    model::{Invalid, MeshName, Namespace, WorkloadName},
};

/// The contents of an access file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessFile {
    /// The roles of users and groups.
    pub policy: Policy,
    /// Which SPIFFE IDs may register which dataplanes; the first rule that matches counts.
    pub certificates: Vec<SpiffeRule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(default)]
    role_bindings: Vec<Binding>,
    #[serde(default)]
    dataplane_certificates: Vec<CertificateRule>,
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
        Ok(Self { policy: Policy { bindings }, certificates })
    }
}

impl Binding {
    fn parse(self, field: &str) -> Result<RoleBinding, Invalid> {
        if self.users.is_empty() && self.groups.is_empty() {
            return Err(Invalid::new(field, "names nobody: set users, groups or both"));
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
        let [operator, viewer] = file.policy.bindings.as_slice() else { panic!("{file:?}") };
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
            ("roleBindings: [{role: viewer}]", "roleBindings[0]: names nobody"),
            ("roleBindings: [{role: viewer, users: ['']}]", "must not be empty"),
            ("roleBindings: [{role: viewer, user: [a]}]", "user"),
            (
                "roleBindings: [{role: viewer, users: [a], namespaces: [a, B]}]",
                "roleBindings[0].namespaces[1]: \"B\"",
            ),
            ("dataplaneCertificates: [{spiffeId: 'spiffe://a/{name}'}]", "dataplaneCertificates[0].spiffeId"),
            ("dataplaneCertificates: [{spiffeId: 'spiffe://a/b', mesh: A}]", "dataplaneCertificates[0].mesh"),
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
