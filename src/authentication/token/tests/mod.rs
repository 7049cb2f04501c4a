//! Tokens, minted here and by other implementations.

mod interoperability;
mod keys;
mod rejected;

use std::time::{Duration, SystemTime};

use super::{issue::sign, *};
use crate::model::{DataplaneGrant, KeyAlgorithm, KeyId, KeyUse, MeshName, PrivateKey, Proof, User};

/// 1,800,000,000 s: an hour before the tokens of [`dataplane`] end.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

fn mesh(name: &str) -> MeshName {
    MeshName::parse("mesh", name).unwrap()
}

fn key_id(id: &str) -> KeyId {
    KeyId::parse("kid", id).unwrap()
}

/// The keys of `tests/tokens`.
fn signing_key(algorithm: KeyAlgorithm) -> SigningKey {
    let pem: &[u8] = match algorithm {
        KeyAlgorithm::Rs256 => include_bytes!("../../../../tests/tokens/rs256.key.pem"),
        KeyAlgorithm::Es256 => include_bytes!("../../../../tests/tokens/es256.key.pem"),
        KeyAlgorithm::EdDsa => include_bytes!("../../../../tests/tokens/eddsa.key.pem"),
    };
    SigningKey::from_pem(pem).unwrap()
}

fn public_key(algorithm: KeyAlgorithm) -> PublicKey {
    let pem: &[u8] = match algorithm {
        KeyAlgorithm::Rs256 => include_bytes!("../../../../tests/tokens/rs256.pem"),
        KeyAlgorithm::Es256 => include_bytes!("../../../../tests/tokens/es256.pem"),
        KeyAlgorithm::EdDsa => include_bytes!("../../../../tests/tokens/eddsa.pem"),
    };
    PublicKey::from_pem(pem).unwrap()
}

fn verifier(keys: impl IntoIterator<Item = (KeyUse, &'static str, PublicKey)>) -> Verifier {
    revoking(keys, Revocations::default())
}

fn revoking(
    keys: impl IntoIterator<Item = (KeyUse, &'static str, PublicKey)>,
    revoked: Revocations,
) -> Verifier {
    let mut all = VerificationKeys::default();
    for (usage, id, key) in keys {
        assert!(all.add(VerificationKey { id: key_id(id), usage, key }));
    }
    Verifier::new(all, revoked)
}

fn grant(of_mesh: Option<&str>) -> DataplaneGrant {
    DataplaneGrant { mesh: of_mesh.map(mesh), ..DataplaneGrant::unrestricted(Proof::Token) }
}

/// A token for all dataplanes of a mesh, or of all meshes, for an hour.
fn dataplane(of_mesh: Option<&str>, id: &str, key: &SigningKey) -> String {
    let claims = Claims::new(Subject::Dataplane(grant(of_mesh)), now(), Duration::from_hours(1));
    issue(&claims, &key_id(id), key).unwrap()
}

fn user(id: &str, key: &SigningKey) -> String {
    let user = User::parse("alice", &["ops".to_owned()]).unwrap();
    issue(&Claims::new(Subject::User(user), now(), Duration::from_hours(1)), &key_id(id), key).unwrap()
}

/// Signs any header and claims.
fn mint(header: &str, claims: &str, key: &SigningKey) -> String {
    sign(header.as_bytes(), claims.as_bytes(), key).unwrap()
}

/// All algorithms with a key of each.
fn algorithms() -> [KeyAlgorithm; 3] {
    [KeyAlgorithm::Rs256, KeyAlgorithm::Es256, KeyAlgorithm::EdDsa]
}

#[test]
fn issued_tokens_are_accepted_with_what_they_were_issued_for() {
    for algorithm in algorithms() {
        let key = signing_key(algorithm);
        let accepting = verifier([(KeyUse::Mesh(mesh("default")), "1", key.public_key())]);
        let claims = Claims::new(
            Subject::Dataplane(DataplaneGrant {
                name: Some(crate::model::DataplaneName::parse("name", "web-1.a").unwrap()),
                namespace: Some(crate::model::Namespace::parse("namespace", "shop").unwrap()),
                workload: Some(crate::model::WorkloadName::parse_kubernetes("workload", "web.x").unwrap()),
                tags: [("team".to_owned(), ["b".to_owned(), "a".to_owned()].into())].into(),
                ..grant(Some("default"))
            }),
            now(),
            Duration::from_hours(1),
        );
        let verified = accepting.verify(&issue(&claims, &key_id("1"), &key).unwrap(), now()).unwrap();
        assert_eq!(verified.subject, claims.subject);
        assert_eq!((&verified.id, verified.expires), (&claims.id, now() + Duration::from_hours(1)));
        assert_eq!((verified.key_use, verified.key_id.as_str()), (KeyUse::Mesh(mesh("default")), "1"));
    }
}

#[test]
fn claims_are_written_as_kuma_writes_them() {
    let mut claims = Claims::new(Subject::Dataplane(grant(Some("default"))), now(), Duration::from_mins(1));
    claims.id = crate::model::TokenId::parse("jti", "x").unwrap();
    assert_eq!(
        str::from_utf8(&claims.to_json()).unwrap(),
        r#"{"Name":"","Mesh":"default","Tags":{},"Type":"","Workload":"","exp":1800000060,"nbf":1799999995,"iat":1799999995,"jti":"x"}"#
    );
    claims.subject = Subject::User(User::parse("alice", &["ops".to_owned()]).unwrap());
    assert_eq!(
        str::from_utf8(&claims.to_json()).unwrap(),
        r#"{"Name":"alice","Groups":["ops"],"exp":1800000060,"nbf":1799999995,"iat":1799999995,"jti":"x"}"#
    );
}

#[test]
fn a_token_is_valid_from_its_first_second_until_before_its_last() {
    let key = signing_key(KeyAlgorithm::EdDsa);
    let verifier = verifier([(KeyUse::AllMeshes, "1", key.public_key())]);
    let token = dataplane(None, "1", &key);
    let check = |at: SystemTime| verifier.verify(&token, at).map(drop);
    let (begin, end) = (now() - Duration::from_secs(5), now() + Duration::from_hours(1));
    assert_eq!(check(begin), Ok(()));
    assert_eq!(check(begin - Duration::from_nanos(1)), Err(TokenError::NotYetValid));
    assert_eq!(check(end - Duration::from_nanos(1)), Ok(()));
    assert_eq!(check(end), Err(TokenError::Expired));
}

#[test]
fn a_revoked_token_and_those_of_a_removed_key_are_rejected_and_others_are_not() {
    let key = signing_key(KeyAlgorithm::Es256);
    let of_mesh = KeyUse::Mesh(mesh("default"));
    let keys = || [(of_mesh.clone(), "1", key.public_key()), (KeyUse::Users, "1", key.public_key())];
    let (token, other) = (dataplane(Some("default"), "1", &key), dataplane(Some("default"), "1", &key));
    let users = user("1", &key);
    let verified = verifier(keys()).verify(&token, now()).unwrap();

    let of_token = crate::model::Revocation { id: verified.id.clone(), expires: verified.expires };
    let after = revoking(keys(), Revocations::from_iter([of_token]));
    assert_eq!(after.verify(&token, now()), Err(TokenError::Revoked));
    assert_eq!(after.recheck(&verified), Err(TokenError::Revoked));
    assert!(after.verify(&other, now()).is_ok());

    let removed = verifier([(KeyUse::Users, "1", key.public_key())]);
    assert_eq!(removed.recheck(&verified).unwrap_err().reason(), "unknown_key");
    assert_eq!(removed.verify(&other, now()).unwrap_err().reason(), "unknown_key");
    assert!(removed.verify(&users, now()).is_ok(), "the key with this identifier for user tokens");
    let replaced = verifier([(of_mesh, "1", public_key(KeyAlgorithm::EdDsa))]);
    assert_eq!(replaced.recheck(&verified).unwrap_err().reason(), "unknown_key");
}
