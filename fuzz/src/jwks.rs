//! A set of keys is accepted if and only if a second implementation of the rules accepts it, and then has
//! the keys that this one finds. Errors are short and printable.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use headcount::authentication::service_account::parse_keys;
use serde_json::value::RawValue;

use super::jwt::rules::Members;

/// The longest text of an error, in bytes: it quotes at most an identifier.
const LONGEST: usize = 1_024;

/// Input: a JWK set.
pub fn check(input: &[u8]) {
    let expected = keys(input);
    match parse_keys(input) {
        Ok(parsed) => {
            let parsed: BTreeMap<_, _> = parsed
                .iter()
                .map(|(id, key)| (id.as_str().to_owned(), key.algorithm().name().to_owned()))
                .collect();
            assert_eq!(Some(parsed), expected);
        }
        Err(error) => {
            let error = format!("{error:#}");
            assert_eq!(expected, None, "{error}");
            assert!(error.len() <= LONGEST && !error.contains(char::is_control), "{error:?}");
        }
    }
}

/// The identifiers of the usable keys, with their algorithms; none if the set is to be rejected.
fn keys(json: &[u8]) -> Option<BTreeMap<String, String>> {
    let set = Members::parse(json)?;
    let list: Vec<&RawValue> = serde_json::from_str(set.get("keys")?.get()).ok()?;
    let mut keys = BTreeMap::new();
    for jwk in &list {
        let members = Members::parse(jwk.get().as_bytes())?;
        let jwk = Jwk::of(&members)?;
        let Some(algorithm) = jwk.algorithm() else { continue };
        let usable = match algorithm {
            "RS256" => jwk.is_rsa()?,
            _ => jwk.is_p256()?,
        };
        let id = jwk.text("kid").filter(|id| is_key_id(id))?;
        if !usable || keys.insert(id.to_owned(), algorithm.to_owned()).is_some() {
            return None;
        }
    }
    (list.len() <= 100 && !keys.is_empty()).then_some(keys)
}

fn is_key_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// The members of a key that are read.
struct Jwk(BTreeMap<&'static str, String>);

impl Jwk {
    /// None if one is neither a text nor, except for `kty`, `null`.
    fn of(members: &Members<'_>) -> Option<Self> {
        let mut read = BTreeMap::new();
        for name in ["kid", "kty", "use", "alg", "crv", "n", "e", "x", "y"] {
            match members.get(name).map(RawValue::get) {
                None | Some("null") if name == "kty" => return None,
                None | Some("null") => {}
                Some(text) => drop(read.insert(name, serde_json::from_str(text).ok()?)),
            }
        }
        Some(Self(read))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The algorithm; none if the key is left out.
    fn algorithm(&self) -> Option<&'static str> {
        let algorithm = match (self.text("kty")?, self.text("crv")) {
            ("RSA", _) => "RS256",
            ("EC", Some("P-256")) => "ES256",
            _ => return None,
        };
        let is = |name, wanted| self.text(name).is_none_or(|text| text == wanted);
        (is("use", "sig") && is("alg", algorithm)).then_some(algorithm)
    }

    fn number(&self, name: &str) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.text(name)?).ok()
    }

    fn is_rsa(&self) -> Option<bool> {
        let (modulus, exponent) = (self.number("n")?, self.number("e")?);
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let bits = modulus
            .get(zeros)
            .map_or(0, |first| (modulus.len() - zeros) * 8 - first.leading_zeros() as usize);
        Some((2_048..=8_192).contains(&bits) && !exponent.is_empty())
    }

    fn is_p256(&self) -> Option<bool> {
        Some(self.number("x")?.len() == 32 && self.number("y")?.len() == 32)
    }
}
