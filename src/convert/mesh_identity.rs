//! Kuma's `MeshIdentity` as a document, in the formats of Universal and of Kubernetes.

mod message;
mod stored;

pub use self::{
    message::{
        mesh_identity_from_proto, mesh_identity_message, mesh_identity_spec_value, mesh_identity_to_proto,
    },
    stored::{mesh_identity_from_store, mesh_identity_to_store},
};

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::document::{Head, Keys, Reader, Violations, YamlMap};
use crate::{
    identity::{
        Bundled, CertificateAuthority, DataSource, MeshIdentity, MeshIdentitySpec, Provider, Selector,
        Template,
    },
    model::Invalid,
};

const KIND: &str = "MeshIdentity";

/// A `MeshIdentity`, and warnings about keys that are probably misspelt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshIdentityDocument {
    /// The resource.
    pub identity: MeshIdentity,
    /// Its spec as it was written.
    pub spec: Value,
    /// Keys that are ignored.
    pub warnings: Vec<String>,
}

impl MeshIdentityDocument {
    /// Converts a document.
    ///
    /// # Errors
    ///
    /// All violations, with the paths of the fields and Kuma's messages.
    pub fn parse(document: &Value) -> Result<Self, Violations> {
        let mut reader = Reader::default();
        let parsed = if let Value::Object(entries) = document {
            if contains_private_key(document) {
                let problem = "contains a private key, which readers of the MeshIdentity would see: use File, Secret or \
                               EnvVar";
                reader.violate(Invalid::new("spec", problem));
            }
            reader.mesh_identity(&YamlMap::root(KIND, entries))
        } else {
            reader.violate(Invalid::new("", "must be a map: write type, mesh, name and spec"));
            None
        };
        let Reader { violations, warnings } = reader;
        match parsed {
            Some(identity) if violations.is_empty() => {
                let spec = document.get("spec").filter(|spec| !spec.is_null());
                Ok(Self { identity, spec: spec.cloned().unwrap_or_else(|| json!({})), warnings })
            }
            _ => Err(Violations(violations)),
        }
    }
}

/// Whether a text contains a private key in PEM, such as one in the place of a certificate.
fn contains_private_key(value: &Value) -> bool {
    match value {
        Value::Object(entries) => entries.values().any(contains_private_key),
        Value::Array(values) => values.iter().any(contains_private_key),
        // The label of each kind of private key in PEM ends so.
        Value::String(text) => text.contains("PRIVATE KEY-----"),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

impl Reader {
    fn mesh_identity(&mut self, root: &YamlMap<'_>) -> Option<MeshIdentity> {
        let head = self.head(root, KIND);
        let spec = self.map(root, "spec", &["selector", "spiffeID", "provider"]);
        let spec = spec.map(|spec| self.spec(&spec)).unwrap_or_default();
        let Head { mesh, key, labels } = head?;
        Some(MeshIdentity { key, mesh, labels, spec })
    }

    fn spec(&mut self, spec: &YamlMap<'_>) -> MeshIdentitySpec {
        let selector = self.map(spec, "selector", &["dataplane"]);
        let selector = selector.map(|selector| self.selector(&selector)).unwrap_or_default();
        let (mut trust_domain, mut path) = (None, None);
        if let Some(spiffe_id) = self.map(spec, "spiffeID", &["trustDomain", "path"]) {
            trust_domain = self.template(&spiffe_id, "trustDomain", MeshIdentitySpec::parse_trust_domain);
            path = self.template(&spiffe_id, "path", MeshIdentitySpec::parse_path);
        }
        let provider = self.map(spec, "provider", &["type", "bundled", "spire", "extension"]);
        let provider = provider.map(|provider| self.provider(&provider)).unwrap_or_default();
        MeshIdentitySpec { selector, trust_domain, path, provider }
    }

    /// A selector without `matchLabels` selects all dataplanes, one without `dataplane` none.
    fn selector(&mut self, selector: &YamlMap<'_>) -> Selector {
        match self.map(selector, "dataplane", &["matchLabels"]) {
            Some(dataplane) => Selector::MatchLabels(self.labels(&dataplane, "matchLabels")),
            None => Selector::Nothing,
        }
    }

    /// A template; none if it is absent. A template may be empty.
    fn template(
        &mut self,
        map: &YamlMap<'_>,
        key: &str,
        parse: impl Fn(&str) -> Result<Template, String>,
    ) -> Option<Template> {
        let text = self.check(map.template(key)).flatten()?;
        self.check(parse(text).map_err(|problem| Invalid::new(map.path(key), problem)))
    }

    fn provider(&mut self, provider: &YamlMap<'_>) -> Provider {
        self.reject_inline_key(provider);
        let Some(kind) = self.one_of(provider, "type", &["Bundled", "Spire", "Extension"]) else {
            return Provider::None;
        };
        let (key, known): (_, &Keys) = match kind {
            "Bundled" => (
                "bundled",
                &[
                    "meshTrustCreation",
                    "insecureAllowSelfSigned",
                    "autogenerate",
                    "ca",
                    "certificateParameters",
                ],
            ),
            "Spire" => ("spire", &["agent"]),
            _ => ("extension", &["name", "config"]),
        };
        let violations = self.violations.len();
        let Some(configuration) = self.map(provider, key, known) else {
            if self.violations.len() == violations {
                self.violate(Invalid::new(provider.path(key), "configuration needs to be defined"));
            }
            return Provider::None;
        };
        match key {
            "bundled" => self.bundled(&configuration),
            "spire" => {
                if let Some(agent) = self.map(&configuration, "agent", &["timeout"]) {
                    self.duration(&agent, "timeout");
                }
                Provider::Spire
            }
            _ => {
                let name = self.text(&configuration, "name");
                if name.is_none() {
                    self.violate(Invalid::new(configuration.path("name"), "in body is required"));
                }
                name.map_or(Provider::None, |name| Provider::Extension(name.into()))
            }
        }
    }

    fn bundled(&mut self, bundled: &YamlMap<'_>) -> Provider {
        let mesh_trust = if bundled.has("meshTrustCreation") {
            self.one_of(bundled, "meshTrustCreation", &["Enabled", "Disabled"])
        } else {
            None
        };
        let allows_self_signed =
            self.check(bundled.flag("insecureAllowSelfSigned")).flatten().unwrap_or(false);
        let autogenerate = self.map(bundled, "autogenerate", &["enabled"]);
        let autogenerate =
            autogenerate.and_then(|map| self.check(map.flag("enabled")).flatten()).unwrap_or(false);
        let ca = self.map(bundled, "ca", &["certificate", "privateKey"]);
        let authority = match (autogenerate, ca) {
            (true, None) => Some(CertificateAuthority::Autogenerated),
            (true, Some(_)) => {
                let problem = "shouldn't be defined once using autogenerated";
                self.violate(Invalid::new(bundled.path("ca"), problem));
                None
            }
            (false, None) => {
                self.violate(Invalid::new(bundled.path("ca"), "must be defined"));
                None
            }
            (false, Some(ca)) => {
                let certificate = self.data_source(&ca, "certificate");
                let private_key = self.data_source(&ca, "privateKey");
                certificate.zip(private_key).map(|(certificate, private_key)| {
                    CertificateAuthority::Provided { certificate, private_key }
                })
            }
        };
        let parameters = self.map(bundled, "certificateParameters", &["expiry"]);
        // Kuma counts 0 as not set.
        let expiry =
            parameters.and_then(|map| self.duration(&map, "expiry")).filter(|expiry| !expiry.is_zero());
        let Some(authority) = authority else { return Provider::None };
        Provider::Bundled(Box::new(Bundled {
            creates_mesh_trust: mesh_trust != Some("Disabled"),
            allows_self_signed,
            authority,
            expiry,
        }))
    }

    /// Rejects a private key in the document. The spec is stored as it was written, so the key would be in it
    /// whatever the types are.
    fn reject_inline_key(&mut self, provider: &YamlMap<'_>) {
        let bundled = child(provider, "bundled");
        let key = bundled.and_then(|bundled| child(&bundled, "ca")).and_then(|ca| child(&ca, "privateKey"));
        if let Some(key) = key.filter(|key| key.has("insecureInline")) {
            let problem = "is not accepted, because readers of the MeshIdentity would see the key: use File, Secret or \
                           EnvVar";
            self.violate(Invalid::new(key.path("insecureInline"), problem));
        }
    }

    fn data_source(&mut self, parent: &YamlMap<'_>, key: &str) -> Option<DataSource> {
        let known = &["type", "file", "secretRef", "envVar", "insecureInline"];
        let violations = self.violations.len();
        let Some(source) = self.map(parent, key, known) else {
            if self.violations.len() == violations {
                self.violate(Invalid::new(parent.path(key), "must be defined"));
            }
            return None;
        };
        let (key, field) =
            match self.one_of(&source, "type", &["File", "Secret", "EnvVar", "InsecureInline"])? {
                "File" => ("file", "path"),
                "Secret" => ("secretRef", "name"),
                "EnvVar" => ("envVar", "name"),
                _ => ("insecureInline", "value"),
            };
        let Some(map) = self.map(&source, key, &[field, "kind"]) else {
            self.violate(Invalid::new(source.path(key), "must be defined"));
            return None;
        };
        let Some(value) = self.text(&map, field) else {
            self.violate(Invalid::new(map.path(field), "must be defined"));
            return None;
        };
        Some(match key {
            "file" => DataSource::File(value.into()),
            "secretRef" => DataSource::Secret(value.into()),
            "envVar" => DataSource::EnvVar(value.into()),
            _ => DataSource::InsecureInline(Zeroizing::new(value.to_owned())),
        })
    }
}

/// A map of the document; none if it is absent or no map.
fn child<'a>(map: &YamlMap<'a>, key: &str) -> Option<YamlMap<'a>> {
    map.map(key).ok().flatten()
}

#[cfg(test)]
mod tests;
