//! What a cluster adds to the manifests: tokens of Pods, and the certificate of cert-manager.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};

use super::{find, items};
use crate::pki::{Authority, Pair};

/// The issuer of the tokens; the file [`JWKS`] has its keys.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc";
pub(super) const JWKS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens/jwks.json");
const KEY: &str = include_str!("../../tokens/es256.key.pem");

/// The token that a kubelet gets for this volume source of a Pod.
pub(super) fn pod_token(pod: &Value, source: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let metadata = &pod["metadata"];
    let header = json!({"alg": "ES256", "kid": "ec"});
    let claims = json!({
        "aud": [source["audience"]], "iss": ISSUER, "jti": metadata["name"],
        "sub": format!("system:serviceaccount:{}:{account}", metadata["namespace"].as_str().unwrap()),
        "nbf": now, "iat": now, "exp": now + source["expirationSeconds"].as_u64().unwrap(),
        "kubernetes.io": {
            "namespace": metadata["namespace"], "pod": {"name": metadata["name"], "uid": "pod-uid"},
            "serviceaccount": {"name": account, "uid": "account-uid"},
        },
    });
    let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = format!("{header}.{claims}");
    let pem: String = KEY.lines().filter(|line| !line.starts_with("--")).collect();
    let (pem, random) = (BASE64_STANDARD.decode(pem).unwrap(), SystemRandom::new());
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pem, &random).unwrap();
    let signature = key.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// Adds what is missing in the objects of an overlay: the Secret of its Certificate, if it has one, with the
/// CA in the webhook, as cert-manager does.
pub(super) fn issue_certificate(objects: &mut Vec<Value>) {
    let Some(certificate) = objects.iter().find(|object| object["metadata"]["name"] == "headcount-tls")
    else {
        panic!("no certificate");
    };
    if certificate["kind"] == "Secret" {
        return;
    }
    let names: Vec<_> =
        items(&certificate["spec"]["dnsNames"]).iter().map(|name| name.as_str().unwrap()).collect();
    let ca = Authority::new();
    let Pair { cert, key } = ca.server(&names);
    let files = [("tls.crt", &cert), ("tls.key", &key), ("ca.crt", &ca.pem)];
    let data: serde_json::Map<_, _> = files
        .map(|(name, text)| (name.to_owned(), BASE64_STANDARD.encode(text).into()))
        .into_iter()
        .collect();
    objects.push(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "data": data,
        "metadata": {"name": certificate["spec"]["secretName"], "namespace": certificate["metadata"]["namespace"]},
    }));
    let webhook = objects.iter_mut().find(|object| object["kind"] == "MutatingWebhookConfiguration").unwrap();
    webhook["webhooks"][0]["clientConfig"]["caBundle"] = BASE64_STANDARD.encode(&ca.pem).into();
}

/// The `ConfigMap` that `agents/copy-ca.sh` makes of the webhook.
pub(super) fn copied_ca(objects: &[Value]) -> Value {
    let webhook = &find(objects, "MutatingWebhookConfiguration", "headcount")["webhooks"][0];
    let bundle = BASE64_STANDARD.decode(webhook["clientConfig"]["caBundle"].as_str().unwrap()).unwrap();
    let ca = String::from_utf8(bundle).unwrap();
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "headcount-ca"}, "data": {"ca.crt": ca},
    })
}
