//! The keys of a cluster, and the tokens that they sign.

use std::time::{Duration, SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// The issuer of the cluster.
pub(super) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A key that signs the tokens of a cluster.
pub(super) struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    pub(super) fn new(id: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let der = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self { id, pair: EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref(), &random).unwrap() }
    }

    /// The public key, as kube-apiserver publishes it.
    pub(super) fn public(&self) -> Value {
        let point = &self.pair.public_key().as_ref()[1..];
        let [x, y] = [&point[..32], &point[32..]].map(|number| URL_SAFE_NO_PAD.encode(number));
        json!({"kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.id, "x": x, "y": y})
    }

    /// Issues a token for a Pod in the namespace `default`. `number` makes it differ from others.
    pub(super) fn token(&self, pod: &str, number: usize, valid_for: Duration) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({
            "aud": ["headcount"], "iss": ISSUER, "sub": "system:serviceaccount:default:web",
            "exp": now + valid_for.as_secs(), "iat": now, "nbf": now, "jti": format!("{pod}-{number}"),
            "kubernetes.io": {
                "namespace": "default", "node": {"name": "node-1", "uid": "node-uid"},
                "pod": {"name": pod, "uid": format!("{pod}-uid")},
                "serviceaccount": {"name": "web", "uid": "web-uid"},
            },
        });
        let header = json!({"alg": "ES256", "kid": self.id});
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
