//! Keys: what they may sign, and their files.

use super::{super::public_key::pem, *};

#[test]
fn a_key_proves_only_what_it_may_sign() {
    let key = signing_key(KeyAlgorithm::Es256);
    let of = |usage| verifier([(usage, "1", key.public_key())]);
    let default = KeyUse::Mesh(mesh("default"));
    let tokens = [
        dataplane(Some("default"), "1", &key),
        dataplane(Some("other"), "1", &key),
        dataplane(None, "1", &key),
        user("1", &key),
    ];
    for (usage, accepted) in [
        (default, [true, false, false, false]),
        (KeyUse::AllMeshes, [true, true, true, false]),
        (KeyUse::Users, [false, false, false, true]),
    ] {
        let verifier = of(usage);
        assert_eq!(tokens.each_ref().map(|token| verifier.verify(token, now()).is_ok()), accepted);
    }
    let text = |usage, token: usize| of(usage).verify(&tokens[token], now()).unwrap_err().to_string();
    assert_eq!(
        text(KeyUse::Users, 0),
        "there is no signing key with KID 1 for dataplane tokens of mesh \"default\". If signing key was rotated, \
         regenerate the token"
    );
    let end = ". If signing key was rotated, regenerate the token";
    assert_eq!(
        text(KeyUse::Users, 2),
        format!("there is no signing key with KID 1 for dataplane tokens of all meshes{end}")
    );
    assert_eq!(
        text(KeyUse::AllMeshes, 3),
        format!("there is no signing key with KID 1 for user tokens{end}")
    );
}

#[test]
fn several_keys_are_valid_at_once() {
    let [rsa, ec, ed] = algorithms().map(signing_key);
    let default = || KeyUse::Mesh(mesh("default"));
    let accepting = verifier([
        (default(), "1", rsa.public_key()),
        (default(), "2", ec.public_key()),
        (KeyUse::AllMeshes, "1", ed.public_key()),
    ]);
    for (id, key, usage) in [("1", &rsa, default()), ("2", &ec, default()), ("1", &ed, KeyUse::AllMeshes)] {
        let verified = accepting.verify(&dataplane(Some("default"), id, key), now()).unwrap();
        assert_eq!(verified.key_use, usage, "{id}");
    }
    let mut keys = VerificationKeys::default();
    assert!(keys.is_empty());
    let key = VerificationKey { id: key_id("1"), usage: default(), key: ec.public_key() };
    assert!(keys.add(key.clone()));
    assert!(!keys.add(key), "an identifier is used once");
}

#[test]
fn generated_keys_have_the_same_public_key_after_they_were_written() {
    for algorithm in [KeyAlgorithm::Es256, KeyAlgorithm::EdDsa] {
        let key = SigningKey::generate(algorithm).unwrap();
        let read = SigningKey::from_pem(key.to_pem().as_bytes()).unwrap();
        assert_eq!((read.algorithm(), read.public_key()), (algorithm, key.public_key()));
        assert_eq!(PublicKey::from_pem(key.public_key().to_pem().as_bytes()), Ok(key.public_key()));
        let stored = PrivateKey::new(key.private_key().as_der().to_vec());
        assert_eq!(SigningKey::new(stored, algorithm).unwrap().public_key(), key.public_key());
    }
    let error = SigningKey::generate(KeyAlgorithm::Rs256).unwrap_err().to_string();
    assert!(error.contains("openssl genrsa"), "{error}");
}

#[test]
fn keys_of_openssl_are_read_and_written_as_it_writes_them() {
    for (algorithm, private, public) in [
        (
            KeyAlgorithm::Rs256,
            include_str!("../../../../tests/tokens/rs256.key.pem"),
            include_str!("../../../../tests/tokens/rs256.pem"),
        ),
        (
            KeyAlgorithm::Rs256,
            include_str!("../../../../tests/tokens/rs256.pkcs8.key.pem"),
            include_str!("../../../../tests/tokens/rs256.pem"),
        ),
        (
            KeyAlgorithm::Es256,
            include_str!("../../../../tests/tokens/es256.key.pem"),
            include_str!("../../../../tests/tokens/es256.pem"),
        ),
        (
            KeyAlgorithm::EdDsa,
            include_str!("../../../../tests/tokens/eddsa.key.pem"),
            include_str!("../../../../tests/tokens/eddsa.pem"),
        ),
    ] {
        let key = SigningKey::from_pem(private.as_bytes()).unwrap();
        assert_eq!((key.algorithm(), &**key.to_pem()), (algorithm, private));
        assert_eq!(key.public_key().to_pem(), public);
    }
}

#[test]
fn a_public_key_of_kumactl_is_read() {
    let pkcs1 = include_bytes!("../../../../tests/tokens/rs256.pkcs1.pem");
    assert_eq!(PublicKey::from_pem(pkcs1), Ok(public_key(KeyAlgorithm::Rs256)));
}

#[test]
fn files_without_a_usable_key_are_rejected_with_the_remedy() {
    let [rsa, ec] =
        [KeyAlgorithm::Rs256, KeyAlgorithm::Es256].map(|algorithm| public_key(algorithm).to_pem());
    let two = rsa + &ec;
    let private = include_str!("../../../../tests/tokens/es256.key.pem");
    // A key of this algorithm without bytes.
    let empty = |algorithm: [&str; 6]| {
        let text = algorithm.concat();
        let pairs = (0..text.len()).step_by(2);
        let algorithm: Vec<_> = pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        let length = u8::try_from(algorithm.len() + 3).unwrap();
        pem("PUBLIC KEY", &[&[0x30, length][..], &algorithm, &[3, 1, 0]].concat())
    };
    let truncated = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n";
    for (file, problem) in [
        ("", "BEGIN PUBLIC KEY"),
        (private, "BEGIN PUBLIC KEY"),
        (&two, "more than one"),
        (truncated, "can't be decoded"),
        (&empty(["30", "13", "0607", "2a8648ce3d0201", "0608", "2a8648ce3d030107"]), "openssl pkey"),
        (&empty(["30", "0d", "0609", "2a864886f70d010101", "05", "00"]), "can't be decoded"),
        (include_str!("../../../../tests/tokens/refused/compressed.pem"), "openssl pkey"),
        (include_str!("../../../../tests/tokens/refused/rsa1024.pem"), "2048"),
        (include_str!("../../../../tests/tokens/refused/p384.pem"), "another kind"),
    ] {
        let error = PublicKey::from_pem(file.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    for (file, problem) in [
        ("", "BEGIN PRIVATE KEY"),
        (&*ec, "BEGIN PRIVATE KEY"),
        (include_str!("../../../../tests/tokens/refused/encrypted.key.pem"), "openssl pkey"),
        (include_str!("../../../../tests/tokens/refused/sec1.key.pem"), "openssl pkcs8"),
        (include_str!("../../../../tests/tokens/refused/rsa1024.key.pem"), "2048"),
        (include_str!("../../../../tests/tokens/refused/p384.key.pem"), "another kind"),
    ] {
        let error = SigningKey::from_pem(file.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let key = signing_key(KeyAlgorithm::Es256);
    assert!(SigningKey::new(key.private_key().clone(), KeyAlgorithm::EdDsa).is_err());
}

#[test]
fn keys_are_not_printed() {
    let key = signing_key(KeyAlgorithm::Es256);
    assert_eq!(format!("{key:?} {:?}", key.public_key()), "SigningKey(ES256) PublicKey(ES256)");
}
