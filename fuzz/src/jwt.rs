//! A token is accepted if and only if a second implementation of the rules accepts its header and its
//! claims, and then says what the claims say. A text that no key has signed is not accepted.

pub mod rules;

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use headcount::{
    authentication::token::{
        Claims, PublicKey, Revocations, SigningKey, Subject, TokenError, VerificationKey, VerificationKeys,
        Verified, Verifier, issue,
    },
    model::{KeyAlgorithm, KeyId, KeyUse, MeshName, PrivateKey, Revocation, TokenId},
};
use ring::signature::Ed25519KeyPair;

/// The time of day, in seconds.
const NOW: u64 = 1_800_000_000;
const SEED: [u8; 32] = [7; 32];
/// What precedes an Ed25519 key in PKCS#8.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// The longest text of an error, in bytes.
const LONGEST: usize = 400;

static SIGNER: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&SEED).expect("32 bytes"));
static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let der = PrivateKey::new([&PKCS8[..], &SEED].concat());
    SigningKey::new(der, KeyAlgorithm::EdDsa).expect("an Ed25519 key")
});
/// Key 1 signs dataplane tokens of all meshes and user tokens, key 2 those of the mesh `default`, and the
/// token `revoked` is revoked.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let mut keys = VerificationKeys::default();
    let default = KeyUse::Mesh(MeshName::parse("", "default").expect("a name"));
    for (id, usage) in [("1", KeyUse::AllMeshes), ("1", KeyUse::Users), ("2", default)] {
        let key: PublicKey = KEY.public_key();
        assert!(keys.add(VerificationKey { id: key_id(id), usage, key }));
    }
    let id = TokenId::parse("", "revoked").expect("an id");
    Verifier::new(keys, Revocations::from_iter([Revocation { id, expires: SystemTime::UNIX_EPOCH }]))
});

fn key_id(id: &str) -> KeyId {
    KeyId::parse("", id).expect("an id")
}

fn verify(token: &str) -> Result<Verified, TokenError> {
    VERIFIER.verify(token, SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

/// Input: a token, or a header and claims in JSON, separated by a line feed, which are signed.
pub fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Some((header, claims)) = text.split_once('\n') {
        check_signed(header.as_bytes(), claims.as_bytes());
    }
    match verify(text) {
        // The fuzzer can't sign, so it was in the corpus.
        Ok(_) => {
            let mut parts = text.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64"));
            let (header, claims) = (parts.next().expect("a header"), parts.next().expect("claims"));
            assert!(rules::accepts(&header, &claims, NOW).is_some(), "{text:?}");
        }
        Err(error) => check_error(&error),
    }
}

fn check_signed(header: &[u8], claims: &[u8]) {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = SIGNER.sign(signed.as_bytes());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    let expected = rules::accepts(header, claims, NOW).filter(|_| token.len() <= 8192);
    let verified = verify(&token);
    assert_eq!(verified.is_ok(), expected.is_some(), "{verified:?} {expected:?}");
    match verified {
        Ok(verified) => {
            assert_eq!(Some(rules::Expected::of(&verified)), expected);
            check_reissued(&verified);
        }
        Err(error) => check_error(&error),
    }
}

/// A new token for the same subject has the same subject.
fn check_reissued(verified: &Verified) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW);
    let claims = Claims::new(verified.subject.clone(), now, Duration::from_secs(1));
    let token = issue(&claims, &verified.key_id, &KEY).expect("random numbers");
    match verify(&token) {
        Ok(again) => assert_eq!(again.subject, verified.subject),
        // With names of many escaped characters it can be longer than the first one.
        Err(error) => assert!(token.len() > 8192, "{error} {:?}", verified.subject),
    }
    if let Subject::User(user) = &verified.subject {
        assert!(!user.name.contains(char::is_control));
    }
}

fn check_error(error: &TokenError) {
    let text = error.to_string();
    assert!(text.len() <= LONGEST && !text.contains(char::is_control), "{text:?}");
    assert!(error.reason().bytes().all(|c| c.is_ascii_lowercase() || c == b'_'), "{error:?}");
}
