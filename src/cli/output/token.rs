//! Signing keys and revocations, as table rows and as documents.

use std::time::SystemTime;

use serde::Serialize;

use super::{age::age, print::Printable};
use crate::proto::{KeyUse, Revocation, SigningKey};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SigningKeyDocument<'a> {
    r#type: &'static str,
    kid: &'a str,
    r#use: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mesh: &'a str,
    algorithm: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_time: Option<String>,
}

impl Printable for SigningKey {
    const PLURAL: &'static str = "signing keys";
    const HEADER: &'static [&'static str] = &["KID", "USE", "MESH", "ALGORITHM", "AGE"];
    const NARROW: usize = Self::HEADER.len();

    fn row(&self, now: SystemTime) -> Vec<String> {
        let mesh =
            if self.r#use() == KeyUse::Dataplane && self.mesh.is_empty() { "<all>" } else { &self.mesh };
        vec![
            self.kid.clone(),
            use_name(self).to_owned(),
            mesh.to_owned(),
            self.algorithm.clone(),
            age(self.creation_time.as_ref(), now),
        ]
    }

    fn resource(&self) -> impl Serialize {
        SigningKeyDocument {
            r#type: "SigningKey",
            kid: &self.kid,
            r#use: use_name(self),
            mesh: &self.mesh,
            algorithm: &self.algorithm,
            creation_time: self.creation_time.as_ref().map(ToString::to_string),
        }
    }
}

/// The use as `--use` and the access file name it.
fn use_name(key: &SigningKey) -> &'static str {
    match key.r#use() {
        KeyUse::Dataplane => "dataplane",
        KeyUse::User => "user",
        KeyUse::Unspecified => "unknown",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RevocationDocument<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

impl Printable for Revocation {
    const PLURAL: &'static str = "revocations";
    const HEADER: &'static [&'static str] = &["TOKEN", "EXPIRES"];
    const NARROW: usize = Self::HEADER.len();

    fn row(&self, _: SystemTime) -> Vec<String> {
        let expires = self.expires_at.as_ref().map(ToString::to_string);
        vec![self.id.clone(), expires.unwrap_or_default()]
    }

    fn resource(&self) -> impl Serialize {
        let expires_at = self.expires_at.as_ref().map(ToString::to_string);
        RevocationDocument { r#type: "Revocation", id: &self.id, expires_at }
    }
}
