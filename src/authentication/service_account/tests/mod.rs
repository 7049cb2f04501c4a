//! Each rule for `ServiceAccount` tokens, with its message.

mod accepted;
mod refresh;
mod waiting;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{cluster::Verified, *};
use crate::{
    authentication::{
        AccessFile,
        jws::Jws,
        token::{SigningKey, TokenError, sign},
    },
    model::{AnonymousAccess, Principal, Proof},
};

const JWKS: &str = include_str!("../../../../tests/tokens/jwks.json");

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

fn key(algorithm: &str) -> SigningKey {
    let pem: &[u8] = match algorithm {
        "RS256" => include_bytes!("../../../../tests/tokens/rs256.key.pem"),
        _ => include_bytes!("../../../../tests/tokens/es256.key.pem"),
    };
    SigningKey::from_pem(pem).unwrap()
}

fn settings(more: &str) -> Settings {
    let text = format!("serviceAccountTokens: {{issuer: 'https://cluster', jwksFile: jwks.json{more}}}");
    AccessFile::parse(text.as_bytes()).unwrap().service_accounts.unwrap()
}

fn cluster() -> Cluster {
    Cluster::new(settings("").rules(None).unwrap(), jwks::parse(JWKS.as_bytes()).unwrap())
}

/// The claims that kube-apiserver issues for a volume of the Pod `shop/web-1`.
fn claims() -> Value {
    json!({
        "aud": ["headcount"], "iss": "https://cluster", "sub": "system:serviceaccount:shop:web",
        "exp": 1_800_003_600, "iat": 1_800_000_000, "nbf": 1_800_000_000, "jti": "token-1",
        "kubernetes.io": {
            "namespace": "shop", "node": {"name": "node-1", "uid": "node-uid"},
            "pod": {"name": "web-1", "uid": "pod-uid"}, "serviceaccount": {"name": "web", "uid": "sa-uid"},
        },
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (pointer, value) in changes {
        match claims.pointer_mut(pointer) {
            Some(claim) => *claim = value.clone(),
            None => claims[pointer.trim_start_matches('/')] = value.clone(),
        }
    }
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim).unwrap();
    claims
}

fn mint(algorithm: &str, kid: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "kid": kid}).to_string();
    sign(header.as_bytes(), claims.to_string().as_bytes(), &key(algorithm)).unwrap()
}

fn verify(cluster: &Cluster, token: &str) -> Result<Verified, ServiceAccountError> {
    cluster.verify_token(token, now()).map(|verified| verified.expect("a ServiceAccount token"))
}

fn problem(claims: &Value) -> String {
    verify(&cluster(), &mint("ES256", "ec", claims)).unwrap_err().to_string()
}

#[test]
fn a_token_proves_the_dataplane_of_its_pod() {
    for (algorithm, kid) in [("RS256", "rsa"), ("ES256", "ec")] {
        for audience in [json!("headcount"), json!(["api", "headcount"])] {
            let token = mint(algorithm, kid, &with(&[("/aud", audience)]));
            let verified = verify(&cluster(), &token).unwrap();
            let Principal::Dataplane(grant) = verified.principal() else { panic!("{verified:?}") };
            assert_eq!(grant.to_string(), "*/shop/web-1");
            assert_eq!(grant.service_account.as_deref(), Some("web"));
            assert_eq!((grant.proof, grant.workload), (Proof::ServiceAccountToken, None));
            assert_eq!(verified.expires, now() + Duration::from_hours(1));
            assert_eq!(verified.label(), "token-1");
        }
    }
    let old = verify(&cluster(), &mint("ES256", "ec", &without("jti"))).unwrap();
    assert_eq!((old.id(), old.label()), (None, "of Pod \"pod-uid\"".to_owned()));
    let meshed =
        Cluster::new(settings(", mesh: retail").rules(None).unwrap(), jwks::parse(JWKS.as_bytes()).unwrap());
    let verified = verify(&meshed, &mint("ES256", "ec", &claims())).unwrap();
    assert_eq!(verified.principal().to_string(), "dataplane retail/shop/web-1");
}

#[test]
fn each_broken_rule_has_its_message() {
    let audience = "the ServiceAccount token is not for the audience \"headcount\": project a token with that audience \
                    into the Pod";
    let issuer = "the ServiceAccount token is not of the issuer \"https://cluster\"";
    let pod = "the ServiceAccount token is not bound to a Pod: use a token of a projected volume of the Pod \
               (serviceAccountToken)";
    let invalid = "could not parse token: token has invalid claims";
    for (claims, expected) in [
        (with(&[("/aud", json!(["https://cluster"]))]), audience.to_owned()),
        (with(&[("/aud", json!("headcount2"))]), audience.to_owned()),
        (with(&[("/aud", json!([]))]), audience.to_owned()),
        (without("aud"), audience.to_owned()),
        (with(&[("/iss", json!("https://cluster/"))]), issuer.to_owned()),
        (without("iss"), issuer.to_owned()),
        (with(&[("/kubernetes.io", json!({"namespace": "shop"}))]), pod.to_owned()),
        (with(&[("/kubernetes.io/pod", Value::Null)]), pod.to_owned()),
        (with(&[("/exp", json!(1_800_000_000))]), format!("{invalid}: token is expired")),
        (without("exp"), format!("{invalid}: token is missing required claim: exp claim is required")),
        (with(&[("/nbf", json!(1_800_000_061))]), format!("{invalid}: token is not valid yet")),
        (with(&[("/jti", json!("a b"))]), format!("{invalid}: jti is not a valid token id")),
    ] {
        assert_eq!(problem(&claims), expected, "{claims}");
    }
    // kube-apiserver's clock may be ahead.
    assert!(verify(&cluster(), &mint("ES256", "ec", &with(&[("/nbf", json!(1_800_000_060))]))).is_ok());
    for (namespace, name, part) in
        [("", "web-1", "the namespace"), ("Shop", "web-1", "the namespace"), ("shop", "", "the name")]
    {
        let bound = json!({"namespace": namespace, "pod": {"name": name, "uid": "pod-uid"}});
        let expected = format!("{invalid}: {part} of the Pod is not a valid name");
        assert_eq!(problem(&with(&[("/kubernetes.io", bound)])), expected);
    }
}

#[test]
fn the_key_determines_the_algorithm() {
    let cluster = cluster();
    let header = |alg: &str, kid: &str| json!({"alg": alg, "kid": kid}).to_string();
    let signed =
        |header: &str| sign(header.as_bytes(), claims().to_string().as_bytes(), &key("ES256")).unwrap();
    for (alg, kid, expected) in [
        ("HS256", "rsa", "unsupported token alg HS256. Allowed algorithm is RS256"),
        ("none", "ec", "unsupported token alg none. Allowed algorithm is ES256"),
        ("ES256", "rsa", "unsupported token alg ES256. Allowed algorithm is RS256"),
        ("RS256", "rsa", "token signature is invalid: crypto/rsa: verification error"),
        ("ES256", "other", "there is no key with KID other for ServiceAccount tokens of the cluster"),
    ] {
        let error = verify(&cluster, &signed(&header(alg, kid))).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let jku = json!({"alg": "ES256", "kid": "ec", "jku": "https://evil"}).to_string();
    let error = verify(&cluster, &signed(&jku)).unwrap_err();
    assert_eq!(error, ServiceAccountError::Token(TokenError::Header("jku")));
}

#[test]
fn other_tokens_and_those_with_a_claim_twice_are_not_taken_for_one() {
    for other in [r#"{"Mesh":"default","exp":1}"#, r#"{"iss":"https://cluster"}"#, "[]", "x"] {
        assert!(Claims::parse(other.as_bytes()).unwrap().is_none(), "{other}");
    }
    let legacy = br#"{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"shop"}"#;
    assert!(Claims::parse(legacy).unwrap().is_some());
    for malformed in [
        r#"{"kubernetes.io":{"namespace":"a","namespace":"b","pod":{"name":"a","uid":"b"}}}"#,
        r#"{"kubernetes.io":{},"aud":{"a":1}}"#,
        r#"{"kubernetes.io":{},"exp":"1"}"#,
        r#"{"kubernetes.io":["shop",{"name":"web-1","uid":"u"}]}"#,
        r#"{"kubernetes.io":{"namespace":"shop","pod":["web-1","u"]}}"#,
    ] {
        assert!(Claims::parse(malformed.as_bytes()).is_err(), "{malformed}");
    }
}

#[test]
fn a_set_of_keys_is_read_or_rejected_as_a_whole() {
    let edited = |edit: fn(&mut Value)| {
        let mut document: Value = serde_json::from_str(JWKS).unwrap();
        edit(&mut document);
        jwks::parse(document.to_string().as_bytes())
    };
    let of_others = edited(|set| {
        set["keys"][0]["alg"] = json!("RS512");
        let keys = set["keys"].as_array_mut().unwrap();
        let (mut p384, mut encrypts) = (keys[1].clone(), keys[1].clone());
        (p384["kid"], p384["alg"]) = (json!("p384"), json!("ES384"));
        (encrypts["kid"], encrypts["use"]) = (json!("encrypts"), json!("enc"));
        keys.extend([p384, encrypts, json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"})]);
    });
    assert_eq!(of_others.unwrap().keys().map(|id| id.as_str().to_owned()).collect::<Vec<_>>(), ["ec"]);
    for (edit, problem) in [
        (
            &(|set: &mut Value| set["keys"] = json!([])) as &dyn Fn(&mut Value),
            "has no key for RS256 or ES256",
        ),
        (&|set: &mut Value| set["keys"][1]["kid"] = json!("rsa"), "keys[1].kid: another key has the same"),
        (
            &|set: &mut Value| drop(set["keys"][0].as_object_mut().unwrap().remove("kid")),
            "keys[0] has no kid",
        ),
        (
            &|set: &mut Value| set["keys"][0]["n"] = json!("AQAB"),
            "keys[0]: is an RSA key with less than 2048",
        ),
        (&|set: &mut Value| set["keys"][0]["n"] = json!("+"), "keys[0]: has a number that is not base64url"),
        (&|set: &mut Value| set["keys"][1]["y"] = json!("AQAB"), "keys[1]: can't be decoded as a public key"),
        (
            &|set: &mut Value| drop(set["keys"][1].as_object_mut().unwrap().remove("x")),
            "keys[1]: has not all numbers",
        ),
        (&|set: &mut Value| set["keys"] = json!(vec![0; 2]), "is no JWK set"),
        (&|set: &mut Value| set["keys"] = json!(vec![json!({"kty": "OKP"}); 101]), "has more than 100 keys"),
    ] {
        let mut document: Value = serde_json::from_str(JWKS).unwrap();
        edit(&mut document);
        let error = format!("{:#}", jwks::parse(document.to_string().as_bytes()).unwrap_err());
        assert!(error.contains(problem), "{problem}: {error}");
    }
}

#[test]
fn settings_that_can_t_be_used_are_named() {
    let parse = |text: &str| AccessFile::parse(format!("serviceAccountTokens: {{{text}}}").as_bytes());
    for (text, problem) in [
        ("jwksFile: f", "serviceAccountTokens.issuer: is required with jwksFile"),
        ("issuer: '', jwksFile: f", "serviceAccountTokens.issuer: must not be empty"),
        ("issuer: i, audience: '', jwksFile: f", "serviceAccountTokens.audience: must not be empty"),
        ("issuer: i, jwksFile: f, mesh: A", "serviceAccountTokens.mesh"),
        ("issuer: i, jwksFile: f, kubeApiServer: {}", "serviceAccountTokens.jwksFile: can't be set together"),
        ("kubeApiServer: {url: 'http://a'}", "serviceAccountTokens.kubeApiServer.url: must be a URL"),
        ("kubeApiServer: {url: 'https://a/b'}", "serviceAccountTokens.kubeApiServer.url: must be a URL"),
        (
            "kubeApiServer: {url: 'https://a', reviewInterval: 100ms}",
            "serviceAccountTokens.kubeApiServer.reviewInterval: must be a duration from 1s to 1h",
        ),
        ("kubeApiServer: {}", "serviceAccountTokens.kubeApiServer.url: is required outside of a Pod"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
    for good in [
        "kubeApiServer: {url: 'https://10.0.0.1'}",
        "kubeApiServer: {url: 'https://[::1]:6443/', caFile: ca}",
    ] {
        assert!(parse(good).is_ok(), "{good}");
    }
}
