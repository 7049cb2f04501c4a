//! A `ServiceAccount` token is accepted if and only if a second implementation of the rules accepts its
//! header and its claims, and then proves the dataplane of the Pod that they name.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use headcount::{
    authentication::service_account::{Cluster, Rules, ServiceAccountError, parse_keys},
    model::{DataplaneName, MeshName, Namespace, Principal, Proof, TokenId},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{json, value::RawValue};

use super::{
    jwt::rules::{Members, header_key},
    rules::{is_dns_1123_label, is_dns_1123_subdomain},
};

/// The time of day, in seconds.
const NOW: u64 = 1_800_000_000;
/// The longest text of an error, in bytes.
const LONGEST: usize = 400;

static KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("random numbers");
    EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).expect("a key")
});
static CLUSTER: LazyLock<Cluster> = LazyLock::new(|| {
    let point = &KEY.public_key().as_ref()[1..];
    let [x, y] = [&point[..32], &point[32..]].map(|number| URL_SAFE_NO_PAD.encode(number));
    let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": x, "y": y}]});
    let rules = Rules {
        issuer: "https://cluster".into(),
        audience: "headcount".into(),
        mesh: Some(MeshName::parse("", "default").expect("a name")),
    };
    Cluster::new(rules, parse_keys(keys.to_string().as_bytes()).expect("a set of keys"))
});

/// Namespace, name, identifier and end of an accepted token.
type Expected = (String, String, Option<String>, u64);

/// Input: a token, or a header and claims in JSON, separated by a line feed, which are signed.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Some((header, claims)) = text.split_once('\n') {
        check_signed(header.as_bytes(), claims.as_bytes());
    }
    match verify(text) {
        Ok(accepted) => assert_eq!(accepted, None, "a token that no key has signed"),
        Err(error) => check_error(&error),
    }
}

fn check_signed(header: &[u8], claims: &[u8]) {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = KEY.sign(&SystemRandom::new(), signed.as_bytes()).expect("random numbers");
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let expected = accepts(header, claims).filter(|_| token.len() <= 8_192);
    match verify(&token) {
        Ok(accepted) => assert_eq!(accepted, expected),
        Err(error) => {
            assert_eq!(expected, None, "{error}");
            check_error(&error);
        }
    }
}

fn verify(token: &str) -> Result<Option<Expected>, ServiceAccountError> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let Some(verified) = CLUSTER.verify_token(token, now)? else { return Ok(None) };
    let Principal::Dataplane(grant) = verified.principal() else { panic!("{verified:?}") };
    assert_eq!(grant.proof, Proof::ServiceAccountToken);
    assert_eq!(grant.mesh.as_ref().map(MeshName::as_str), Some("default"));
    assert!(grant.workload.is_none() && grant.tags.is_empty());
    let name = grant.name.as_ref().map(DataplaneName::as_str).expect("a token is bound to a Pod");
    let namespace = grant.namespace.as_ref().map(Namespace::as_str).expect("a Pod has a namespace");
    let expires = verified.expires.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    Ok(Some((namespace.into(), name.into(), verified.id().map(TokenId::to_string), expires)))
}

fn check_error(error: &ServiceAccountError) {
    let text = error.to_string();
    assert!(text.len() <= LONGEST && !text.contains(char::is_control), "{text:?}");
}

/// What a signed token with this header and these claims proves; none if it is not to be accepted.
fn accepts(header: &[u8], claims: &[u8]) -> Option<Expected> {
    let claims = Members::parse(claims)?;
    let pod = Members::parse(claims.get("kubernetes.io")?.get().as_bytes())?;
    let (namespace, pod) = (pod.text("namespace")?, Members::parse(pod.get("pod")?.get().as_bytes())?);
    let (name, _uid) = (pod.get("name").and(pod.text("name"))?, pod.get("uid").and(pod.text("uid"))?);
    let audience = claims.get("aud")?.get();
    let audiences: Vec<String> = serde_json::from_str(audience)
        .or_else(|_| serde_json::from_str(audience).map(|one| vec![one]))
        .ok()?;
    let (expires, not_before) = (number(&claims, "exp")??, number(&claims, "nbf")?.unwrap_or(0));
    let id = match claims.get("jti").map(RawValue::get) {
        None | Some("null") => None,
        Some(_) => Some(claims.text("jti")?),
    };
    let is_id = |id: &String| (1..=128).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_graphic());
    let valid = header_key(header, "ES256")? == "1"
        && claims.text("iss")? == "https://cluster"
        && audiences.iter().any(|audience| audience == "headcount")
        && NOW < expires
        && expires < 253_402_300_800
        && not_before <= NOW + 60
        && is_dns_1123_label(&namespace)
        && is_dns_1123_subdomain(&name)
        && id.iter().all(is_id);
    valid.then_some((namespace, name, id, expires))
}

/// A number that may be `null`. The outer none means another type.
#[expect(clippy::option_option, reason = "of the wrong type, absent, present")]
fn number(claims: &Members<'_>, name: &str) -> Option<Option<u64>> {
    match claims.get(name).map(RawValue::get) {
        Some("null") => Some(None),
        _ => claims.number(name),
    }
}
