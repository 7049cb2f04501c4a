//! Signed tokens in their compact form: `header.payload.signature` (RFC 7515).
//!
//! What is accepted is less than the standard allows: each further member of a header is one more
//! way to confuse a verifier (RFC 8725).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{json, token::TokenError};
use crate::model::KeyId;

/// The longest token, in bytes. Kuma's have about 600.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Members of a header that are rejected: those that bring or name a key, so that a token would
/// choose what it is verified with, and those that change how it is read.
const REJECTED_MEMBERS: [&str; 8] = ["b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"];

/// A token whose signature has not been verified.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    /// What the signature signs.
    pub(super) signed: &'a [u8],
    /// The key that has signed it, by the header.
    pub(super) key_id: KeyId,
    /// The algorithm of the header; only compared with that of the key.
    pub(super) algorithm: String,
    /// The claims, as JSON.
    pub(super) payload: Vec<u8>,
    /// The signature.
    pub(super) signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// Splits and decodes a token.
    ///
    /// # Errors
    ///
    /// If it is too long or malformed, or its header names no key or has a rejected member.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed("token is longer than 8 KiB"));
        }
        let segments = TokenError::Malformed("token contains an invalid number of segments");
        let Some((signed, signature)) = token.rsplit_once('.') else { return Err(segments) };
        let Some((header, payload)) = signed.split_once('.') else { return Err(segments) };
        if payload.contains('.') {
            return Err(segments);
        }
        let decode = |part: &str, problem| {
            URL_SAFE_NO_PAD.decode(part).map_err(|_invalid| TokenError::Malformed(problem))
        };
        let header = decode(header, "could not base64 decode header")?;
        let payload = decode(payload, "could not base64 decode claim")?;
        let signature = decode(signature, "could not base64 decode signature")?;
        let (key_id, algorithm) = parse_header(&header)?;
        Ok(Self { signed: signed.as_bytes(), key_id, algorithm, payload, signature })
    }
}

/// Returns `kid` and `alg`.
fn parse_header(header: &[u8]) -> Result<(KeyId, String), TokenError> {
    let header: Map<String, Value> =
        json::decode(header).map_err(|_invalid| TokenError::Malformed("could not JSON decode header"))?;
    if let Some(member) = REJECTED_MEMBERS.into_iter().find(|member| header.contains_key(*member)) {
        return Err(TokenError::Header(member));
    }
    match header.get("typ") {
        None => {}
        Some(Value::String(typ)) if typ.eq_ignore_ascii_case("JWT") => {}
        Some(_) => return Err(TokenError::Header("typ")),
    }
    let Some(Value::String(algorithm)) = header.get("alg") else {
        return Err(TokenError::Malformed("header has no alg"));
    };
    let key_id = match header.get("kid") {
        None => return Err(TokenError::NoKeyId),
        Some(Value::String(id)) => KeyId::parse("kid", id).ok(),
        Some(_) => None,
    };
    let key_id = key_id.ok_or(TokenError::Malformed("kid is not a valid key id"))?;
    Ok((key_id, algorithm.clone()))
}

/// Encodes a part of a token.
pub(super) fn encode_part(part: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(part)
}
