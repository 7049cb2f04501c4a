//! Sets of public keys as kube-apiserver publishes them (RFC 7517).

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::{
    authentication::{
        json::{self, Object},
        token::{KeyError, PublicKey},
    },
    model::KeyId,
};

/// The most keys of a set. A cluster has one, and two while it is replaced.
const MAX_KEYS: usize = 100;

/// Public keys by identifier.
pub type Keys = HashMap<KeyId, PublicKey>;

#[derive(Deserialize)]
struct Document {
    keys: Vec<Object<Jwk>>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: Option<String>,
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Parses a JWK set. Keys of other algorithms than RS256 and ES256 are left out.
///
/// # Errors
///
/// If it is no JWK set, a key is invalid, two have one identifier, or there is no usable key.
pub fn parse(text: &[u8]) -> anyhow::Result<Keys> {
    let Document { keys: jwks } = json::decode(text).context("is no JWK set")?;
    ensure!(jwks.len() <= MAX_KEYS, "has more than {MAX_KEYS} keys");
    let mut keys = Keys::new();
    for (at, Object(jwk)) in jwks.iter().enumerate() {
        let Some(key) = jwk.key().with_context(|| format!("keys[{at}]"))? else { continue };
        let id = jwk.kid.as_deref().with_context(|| format!("keys[{at}] has no kid"))?;
        let id = KeyId::parse("kid", id).with_context(|| format!("keys[{at}]"))?;
        if keys.insert(id, key).is_some() {
            bail!("keys[{at}].kid: another key has the same");
        }
    }
    ensure!(!keys.is_empty(), "has no key for RS256 or ES256");
    Ok(keys)
}

impl Jwk {
    /// The key; none if it is for another algorithm or another use.
    fn key(&self) -> Result<Option<PublicKey>, KeyError> {
        if self.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return Ok(None);
        }
        let alg = self.alg.as_deref();
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) if matches!(alg, None | Some("RS256")) => {
                PublicKey::from_rsa_parts(&number(self.n.as_deref())?, &number(self.e.as_deref())?).map(Some)
            }
            ("EC", Some("P-256")) if matches!(alg, None | Some("ES256")) => {
                PublicKey::from_p256_point(&number(self.x.as_deref())?, &number(self.y.as_deref())?).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// A number: its bytes in base64url, big end first.
fn number(text: Option<&str>) -> Result<Vec<u8>, KeyError> {
    let text = text.ok_or(KeyError("has not all numbers of a key"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_invalid| KeyError("has a number that is not base64url"))
}
