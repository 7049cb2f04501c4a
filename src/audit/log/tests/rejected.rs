//! Credentials that were rejected: which of them the log names.

use std::time::Duration;

use tokio::sync::watch;

use super::*;
use crate::{
    authentication::token::{
        Claims, Revocations, SigningKey, Subject as Holder, VerificationKey, VerificationKeys, Verifier,
        issue,
    },
    model::{KeyAlgorithm, Revocation},
};

const HOUR: Duration = Duration::from_hours(1);

/// The claims of a token that was issued at this time, for an hour.
fn issued(at: SystemTime) -> Claims {
    Claims::new(Holder::User(User::parse("alice", &["ops".to_owned()]).unwrap()), at, HOUR)
}

/// A header with a token.
fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap())])
}

#[tokio::test]
async fn a_rejected_token_is_named_if_a_trusted_key_has_signed_it() {
    let [trusted, other] = [(); 2].map(|()| SigningKey::generate(KeyAlgorithm::Es256).unwrap());
    let (kid, now) = (KeyId::parse("kid", "1").unwrap(), SystemTime::now());
    let token = |claims: &Claims, key| issue(claims, &kid, key).unwrap();
    let [valid, revoked, forged] = [(); 3].map(|()| issued(now));
    let (expired, early) = (issued(now - 2 * HOUR), issued(now + 2 * HOUR));

    let mut keys = VerificationKeys::default();
    assert!(keys.add(VerificationKey { id: kid.clone(), usage: KeyUse::Users, key: trusted.public_key() }));
    let revocation = Revocation { id: revoked.id.clone(), expires: revoked.expires };
    let verifier = Verifier::new(keys, Revocations::from_iter([revocation]));
    let (_sender, verifier) = watch::channel(verifier);
    let (setup, writer) = Setup::with(|trust| trust.with_tokens(verifier, SystemTime::now));
    thread::spawn(move || writer.run());

    let genuine = [&revoked, &expired, &early].map(|claims| (Some(&claims.id), token(claims, &trusted)));
    // Any sender can write the identifier of a valid token into a forged one.
    let all = genuine.into_iter().chain([(None, token(&forged, &other)), (None, token(&valid, &other))]);
    let mut named = Vec::new();
    for (id, token) in all {
        setup.control.authenticate(&bearer(&token), &from_client()).unwrap_err();
        named.push(id.map(|id| json!({ "kind": "token", "id": id.as_str() })));
    }
    setup.control.authenticate(&bearer(&token(&valid, &trusted)), &from_client()).unwrap();
    // The new token of a session.
    let former = setup.user();
    setup.control.renew(&former, &token(&expired, &trusted)).await.unwrap_err();
    named.push(named[1].clone());

    let lines = setup.lines().await;
    let credentials: Vec<_> = lines.iter().map(|line| line.get("credential").cloned()).collect();
    assert_eq!(credentials, named);
    assert!(lines.iter().all(|line| line["outcome"] == "unauthenticated" && line.get("principal").is_none()));
    let reasons: Vec<_> = lines.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    let bad = "bad_credential";
    assert_eq!(reasons, ["revoked", "expired", bad, bad, bad, "expired"]);
}
