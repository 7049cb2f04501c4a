//! What is not accepted, and with which text.

use ring::hmac;

use super::*;
use crate::authentication::jws::encode_part;

const HEADER: &str = r#"{"alg":"ES256","kid":"1","typ":"JWT"}"#;
const CLAIMS: &str = r#"{"Mesh":"default","exp":1800003600,"jti":"x"}"#;

fn key() -> SigningKey {
    signing_key(KeyAlgorithm::Es256)
}

/// Accepts tokens for all meshes and for users.
fn accepting() -> Verifier {
    let public = key().public_key();
    verifier([(KeyUse::AllMeshes, "1", public.clone()), (KeyUse::Users, "1", public)])
}

#[track_caller]
fn check(token: &str, reason: &str, text: &str) {
    let error = accepting().verify(token, now()).unwrap_err();
    assert_eq!(error.to_string().strip_prefix("could not parse token: ").unwrap_or(&error.to_string()), text);
    assert_eq!(error.reason(), reason);
}

#[test]
fn the_claims_and_header_of_these_tests_are_accepted_as_they_are() {
    assert!(accepting().verify(&mint(HEADER, CLAIMS, &key()), now()).is_ok());
}

#[test]
fn headers() {
    let of = |text| format!("token is unverifiable: {text}");
    let malformed = |text| format!("token is malformed: {text}");
    let executing = |text| of(format!("error while executing keyfunc: {text}"));
    for (header, reason, text) in [
        (r#"{"alg":"ES256","typ":"JWT"}"#, "unknown_key", executing("JWT token must have kid header")),
        (r#"{"alg":"ES256","kid":1}"#, "malformed", malformed("kid is not a valid key id")),
        (r#"{"alg":"ES256","kid":null}"#, "malformed", malformed("kid is not a valid key id")),
        (r#"{"alg":"ES256","kid":"../1"}"#, "malformed", malformed("kid is not a valid key id")),
        (r#"{"kid":"1"}"#, "malformed", malformed("header has no alg")),
        (r#"{"alg":null,"kid":"1"}"#, "malformed", malformed("header has no alg")),
        (
            r#"{"alg":"none","kid":"1"}"#,
            "unsupported",
            executing("unsupported token alg none. Allowed algorithm is ES256"),
        ),
        (
            r#"{"alg":"RS256","kid":"1"}"#,
            "unsupported",
            executing("unsupported token alg RS256. Allowed algorithm is ES256"),
        ),
        (
            r#"{"alg":"es256","kid":"1"}"#,
            "unsupported",
            executing("unsupported token alg of another name. Allowed algorithm is ES256"),
        ),
        (r#"{"alg":"ES256","kid":"1","crit":["b64"],"b64":false}"#, "unsupported", of("unsupported header b64".into())),
        (r#"{"alg":"ES256","kid":"1","crit":["exp"]}"#, "unsupported", of("unsupported header crit".into())),
        (r#"{"alg":"ES256","kid":"1","crit":null}"#, "unsupported", of("unsupported header crit".into())),
        (r#"{"alg":"ES256","kid":"1","jku":"http://a"}"#, "unsupported", of("unsupported header jku".into())),
        (r#"{"alg":"ES256","kid":"1","jwk":{}}"#, "unsupported", of("unsupported header jwk".into())),
        (r#"{"alg":"ES256","kid":"1","x5c":[]}"#, "unsupported", of("unsupported header x5c".into())),
        (r#"{"alg":"ES256","kid":"1","x5u":""}"#, "unsupported", of("unsupported header x5u".into())),
        (r#"{"alg":"ES256","kid":"1","zip":"DEF"}"#, "unsupported", of("unsupported header zip".into())),
        (r#"{"alg":"ES256","kid":"1","enc":"A"}"#, "unsupported", of("unsupported header enc".into())),
        (r#"{"alg":"ES256","kid":"1","typ":"at+jwt"}"#, "unsupported", of("unsupported header typ".into())),
        (r#"{"alg":"ES256","kid":"1","typ":1}"#, "unsupported", of("unsupported header typ".into())),
        (r#"{"alg":"ES256","kid":"1","kid":"1"}"#, "malformed", malformed("could not JSON decode header")),
        (r#"{"alg":"ES256","\u0061lg":"none","kid":"1"}"#, "malformed", malformed("could not JSON decode header")),
        (r#"["ES256","1"]"#, "malformed", malformed("could not JSON decode header")),
        ("", "malformed", malformed("could not JSON decode header")),
        (
            r#"{"alg":"ES256","kid":"7"}"#,
            "unknown_key",
            "there is no signing key with KID 7 for dataplane tokens of mesh \"default\". If signing key was rotated, \
             regenerate the token"
                .to_owned(),
        ),
    ] {
        check(&mint(header, CLAIMS, &key()), reason, &text);
    }
}

#[test]
fn claims() {
    let invalid = |text| format!("token has invalid claims: {text}");
    let malformed = || "token is malformed: could not JSON decode claim".to_owned();
    let kind = || invalid("they are not those of a dataplane token or a user token");
    let rest = r#""exp":1800003600,"jti":"x""#;
    for (claims, reason, text) in [
        (
            r#"{"Mesh":"","jti":"x"}"#.to_owned(),
            "claims",
            invalid("token is missing required claim: exp claim is required"),
        ),
        (
            r#"{"Mesh":"","exp":1800003600}"#.into(),
            "claims",
            invalid("token is missing required claim: jti claim is required"),
        ),
        (r#"{"Mesh":"","exp":1800000000,"jti":"x"}"#.into(), "expired", invalid("token is expired")),
        (r#"{"Mesh":"","exp":0,"jti":"x"}"#.into(), "expired", invalid("token is expired")),
        (
            r#"{"Mesh":"","exp":253402300800,"jti":"x"}"#.into(),
            "claims",
            invalid("exp is after the year 9999"),
        ),
        (
            r#"{"Mesh":"","exp":18446744073709551615,"jti":"x"}"#.into(),
            "claims",
            invalid("exp is after the year 9999"),
        ),
        (r#"{"Mesh":"","exp":18446744073709551616,"jti":"x"}"#.into(), "malformed", malformed()),
        (r#"{"Mesh":"","exp":"1800003600","jti":"x"}"#.into(), "malformed", malformed()),
        (r#"{"Mesh":"","exp":1800003600.5,"jti":"x"}"#.into(), "malformed", malformed()),
        (r#"{"Mesh":"","exp":-1,"jti":"x"}"#.into(), "malformed", malformed()),
        (r#"{"Mesh":"","exp":null,"jti":"x"}"#.into(), "malformed", malformed()),
        (
            format!(r#"{{"Mesh":"","nbf":1800000001,{rest}}}"#),
            "not_yet_valid",
            invalid("token is not valid yet"),
        ),
        (format!(r#"{{"Mesh":"","nbf":null,{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","iat":"now",{rest}}}"#), "malformed", malformed()),
        (r#"{"Mesh":"","exp":1800003600,"jti":""}"#.into(), "claims", invalid("jti is not a valid token id")),
        (r#"{"Mesh":"","exp":1800003600,"jti":7}"#.into(), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","aud":"others",{rest}}}"#), "claims", invalid("token has invalid audience")),
        (
            format!(r#"{{"Name":"a","Groups":[],"aud":[],{rest}}}"#),
            "claims",
            invalid("token has invalid audience"),
        ),
        (
            format!(r#"{{"Mesh":"","Type":"ingress",{rest}}}"#),
            "claims",
            invalid("ingress is not a valid proxy type"),
        ),
        (
            format!(r#"{{"Mesh":"","Type":"egress",{rest}}}"#),
            "claims",
            invalid("egress is not a valid proxy type"),
        ),
        (
            format!(r#"{{"Mesh":"","Type":"Dataplane",{rest}}}"#),
            "claims",
            invalid("Type is not a valid proxy type"),
        ),
        (format!(r#"{{"Mesh":"Bad Mesh",{rest}}}"#), "claims", invalid("Mesh is not a valid name")),
        (format!(r#"{{"Mesh":"","Name":"Bad Name",{rest}}}"#), "claims", invalid("Name is not a valid name")),
        (
            format!(r#"{{"Mesh":"","Workload":"Bad_Name",{rest}}}"#),
            "claims",
            invalid("Workload is not a valid name"),
        ),
        (
            format!(r#"{{"Mesh":"","Namespace":"a.b",{rest}}}"#),
            "claims",
            invalid("Namespace is not a valid name"),
        ),
        (format!(r#"{{"Name":"","Groups":[],{rest}}}"#), "claims", invalid("Name or Groups are invalid")),
        (
            format!(r#"{{"Name":"a","Groups":["b\n"],{rest}}}"#),
            "claims",
            invalid("Name or Groups are invalid"),
        ),
        (format!(r#"{{"Name":"a",{rest}}}"#), "claims", kind()),
        (format!(r#"{{"Name":"a","Mesh":"","Groups":["ops"],{rest}}}"#), "claims", kind()),
        (format!(r#"{{"Zone":"a","Scope":["cp"],{rest}}}"#), "claims", kind()),
        (format!(r#"{{"Mesh":"","Mesh":"",{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","Name":"a","Name":"",{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","other":1,"other":2,{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","Tags":{{"a":["b"],"a":["c"]}},{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":null,{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","Name":null,{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","Name":["a"],{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","Tags":{{"a":"b"}},{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Mesh":"","Tags":[],{rest}}}"#), "malformed", malformed()),
        (format!(r#"{{"Name":"a","Groups":"ops",{rest}}}"#), "malformed", malformed()),
        (format!("[{rest}]").replace(':', ","), "malformed", malformed()),
    ] {
        check(&mint(HEADER, &claims, &key()), reason, &text);
    }
}

#[test]
fn signatures() {
    let token = mint(HEADER, CLAIMS, &key());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let other = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    let mint_of = |key| mint(HEADER, CLAIMS, key);
    let zeros = encode_part(&[0; 64]);
    for token in [
        mint_of(&other),
        mint_of(&signing_key(KeyAlgorithm::EdDsa)),
        mint_of(&signing_key(KeyAlgorithm::Rs256)),
        format!("{signed}."),
        format!("{signed}.{zeros}"),
        format!("{signed}.{}", &signature[..signature.len() - 2]),
        format!("{header}.{}.{signature}", encode_part(CLAIMS.replace("default", "other").as_bytes())),
    ] {
        check(&token, "signature", "token signature is invalid: crypto/ecdsa: verification error");
    }
}

/// A parser that ignores characters would accept many texts as one token.
#[test]
fn a_token_has_one_encoding() {
    let token = mint(HEADER, CLAIMS, &key());
    for (token, text) in [
        (format!("{token}="), "could not base64 decode signature"),
        (format!("{token}\n"), "could not base64 decode signature"),
        (format!(" {token}"), "could not base64 decode header"),
        (format!("Bearer {token}"), "could not base64 decode header"),
        (token.replacen('.', "=.", 1), "could not base64 decode header"),
        (token.replace('.', "%2E"), "token contains an invalid number of segments"),
        (format!("{token}."), "token contains an invalid number of segments"),
        (String::new(), "token contains an invalid number of segments"),
        ("a.b".to_owned(), "token contains an invalid number of segments"),
        ("..".to_owned(), "could not JSON decode header"),
        ("garbage".to_owned(), "token contains an invalid number of segments"),
    ] {
        check(&token, "malformed", &format!("token is malformed: {text}"));
    }
    // Four bits of the last character are not used, and must be zero.
    let (rest, last) = token.split_at(token.len() - 1);
    let others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars();
    let accepted = others.filter(|other| accepting().verify(&format!("{rest}{other}"), now()).is_ok());
    assert_eq!(accepted.collect::<String>(), last);
}

/// The public key is not a secret, so a verifier must not use it as one.
#[test]
fn a_public_key_is_no_secret_of_hmac() {
    for algorithm in algorithms() {
        let public = public_key(algorithm);
        let verifier = verifier([(KeyUse::AllMeshes, "1", public.clone())]);
        let signed =
            format!("{}.{}", encode_part(br#"{"alg":"HS256","kid":"1"}"#), encode_part(CLAIMS.as_bytes()));
        let secret = hmac::Key::new(hmac::HMAC_SHA256, public.to_pem().as_bytes());
        let signature = encode_part(hmac::sign(&secret, signed.as_bytes()).as_ref());
        let error = verifier.verify(&format!("{signed}.{signature}"), now()).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("unsupported token alg HS256. Allowed algorithm is {algorithm}")),
            "{error}"
        );
    }
}

#[test]
fn the_header_does_not_select_the_algorithm() {
    let verifier =
        verifier(algorithms().map(|algorithm| (KeyUse::AllMeshes, algorithm.name(), public_key(algorithm))));
    for of_key in algorithms() {
        for named in algorithms() {
            let header = format!(r#"{{"alg":"{named}","kid":"{of_key}"}}"#);
            for signer in algorithms() {
                let token = mint(&header, CLAIMS, &signing_key(signer));
                let accepted = of_key == named && named == signer;
                assert_eq!(verifier.verify(&token, now()).is_ok(), accepted, "{of_key} {named} {signer}");
            }
        }
    }
}

#[test]
fn tokens_over_8_kib_are_rejected_before_they_are_decoded() {
    let padded = |bytes: usize| {
        let claims = CLAIMS.replace('{', &format!(r#"{{"pad":"{}","#, "a".repeat(bytes)));
        mint(HEADER, &claims, &key())
    };
    let base = padded(0).len();
    let fits = padded((MAX_TOKEN_BYTES - base) / 4 * 3);
    assert!(fits.len() <= MAX_TOKEN_BYTES && fits.len() + 4 > MAX_TOKEN_BYTES, "{}", fits.len());
    assert!(accepting().verify(&fits, now()).is_ok());
    let long = padded((MAX_TOKEN_BYTES - base) / 4 * 3 + 6);
    assert!(long.len() > MAX_TOKEN_BYTES);
    check(&long, "malformed", "token is malformed: token is longer than 8 KiB");
}

#[test]
fn no_text_contains_a_word_of_the_token() {
    let secret = "sUpErSeCrEt";
    let claims = format!(r#"{{"Mesh":"{secret}","Name":"{secret}","exp":1800003600,"jti":"{secret}"}}"#);
    let header = format!(r#"{{"alg":"{secret}","kid":"1","{secret}":"{secret}"}}"#);
    for token in [
        mint(HEADER, &claims, &key()),
        mint(&header, CLAIMS, &key()),
        mint(&format!(r#"{{"alg":"ES256","kid":"{secret}!"}}"#), CLAIMS, &key()),
        format!("{secret}.{secret}.{secret}"),
        secret.repeat(1000),
    ] {
        let error = accepting().verify(&token, now()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error:?}");
    }
}
