//! `headcount generate`.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::run;
use crate::{
    authentication::token::{
        PublicKey, Revocations, Subject, TokenError, VerificationKey, VerificationKeys, Verifier,
    },
    cli::{Failure, Outcome},
    model::{KeyId, KeyUse, MeshName, User},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn verifier(public_key: &Path, usage: KeyUse) -> Verifier {
    let key = PublicKey::from_pem(&fs::read(public_key).unwrap()).unwrap();
    let mut keys = VerificationKeys::default();
    assert!(keys.add(VerificationKey { id: KeyId::parse("kid", "2026").unwrap(), usage, key }));
    Verifier::new(keys, Revocations::default())
}

#[tokio::test]
async fn a_generated_key_signs_tokens_that_its_public_key_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let (private, public) = (directory.path().join("key"), directory.path().join("pub"));
    let (key_file, public_file) = (private.display(), public.display());
    let files = format!("--key-file {key_file} --public-key-file {public_file}");
    let ended = run(&format!("generate signing-key {files}")).await;
    assert_eq!((ended.result.unwrap(), &*ended.out, &*ended.err), (Outcome::Success, "", ""));
    assert_eq!((mode(&private), mode(&public)), (0o600, 0o644));

    let signer = format!("--signing-key-file {key_file} --kid 2026 --valid-for 1h");
    let of_dataplane =
        "--name web-1 --namespace shop --workload web --tag team=a,b --tag team=c --tag kuma.io/zone=z";
    let ended = run(&format!("generate dataplane-token {signer} {of_dataplane}")).await;
    let (token, end) = ended.out.split_at(ended.out.len() - 1);
    assert_eq!((end, &*ended.err), ("\n", ""));
    let verifier_of_mesh = verifier(&public, KeyUse::Mesh(MeshName::parse("mesh", "default").unwrap()));
    let verified = verifier_of_mesh.verify(token, SystemTime::now()).unwrap();
    let Subject::Dataplane(grant) = verified.subject else { panic!("{:?}", verified.subject) };
    assert_eq!(grant.to_string(), "default/shop/web-1 of workload web");
    let tags: Vec<_> = grant.tags.iter().map(|(key, values)| (&**key, values.len())).collect();
    assert_eq!(tags, [("kuma.io/zone", 1), ("team", 3)]);
    let later = SystemTime::now() + Duration::from_hours(1);
    assert_eq!(verifier_of_mesh.verify(token, later), Err(TokenError::Expired));

    let ended = run(&format!("generate user-token {signer} --name alice --group ops --group dev")).await;
    let verified = verifier(&public, KeyUse::Users).verify(ended.out.trim_end(), SystemTime::now()).unwrap();
    let alice = User { name: "alice".to_owned(), groups: vec!["ops".to_owned(), "dev".to_owned()] };
    assert_eq!(verified.subject, Subject::User(alice));
}

#[tokio::test]
async fn a_token_is_written_to_a_file_that_only_its_owner_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("alice.token");
    let token = "generate user-token --name alice --valid-for 1h --kid 1 --signing-key-file tests/tokens/rs256.key.pem";
    let to_file = format!("{token} --output {}", file.display());
    let ended = run(&to_file).await;
    assert_eq!((ended.result.unwrap(), &*ended.out, &*ended.err), (Outcome::Success, "", ""));
    let first = fs::read_to_string(&file).unwrap();
    assert!(first.starts_with("ey") && first.ends_with('\n') && first.lines().count() == 1, "{first}");
    assert_eq!(mode(&file), 0o600);

    let ended = run(&to_file).await;
    assert!(matches!(ended.result, Err(Failure::Usage(_))));
    let failure = ended.failure();
    assert!(failure.contains("--output: ") && failure.contains("replace it with --force"), "{failure}");
    assert_eq!(fs::read_to_string(&file).unwrap(), first);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(run(&format!("{to_file} --force")).await.result.unwrap(), Outcome::Success);
    assert_ne!(fs::read_to_string(&file).unwrap(), first);
    assert_eq!(mode(&file), 0o600, "also if the former file had other permissions");

    let missing = run(&format!("{token} --output /nowhere/a.token")).await.failure();
    assert!(missing.contains("--output: cannot write /nowhere/a.token"), "{missing}");
    assert!(run(&format!("{token} --output -")).await.out.starts_with("ey"));
    assert!(run(&format!("{token} --force")).await.failure().contains("--output"));
}

#[tokio::test]
async fn a_key_file_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let (file, other) = (directory.path().join("key"), directory.path().join("other"));
    fs::write(&file, "precious").unwrap();
    for flags in [
        format!("--key-file {}", file.display()),
        format!("--key-file {} --public-key-file {}", other.display(), file.display()),
    ] {
        let failure = run(&format!("generate signing-key {flags}")).await.failure();
        assert!(failure.contains("exists: choose another file"), "{failure}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert!(!other.exists(), "no key without the public key that belongs to it");
    let missing = directory.path().join("missing/key");
    let failure = run(&format!("generate signing-key --key-file {}", missing.display())).await.failure();
    assert!(failure.contains("--key-file: cannot write"), "{failure}");
}

#[tokio::test]
async fn a_key_without_a_file_is_printed() {
    for algorithm in ["ES256", "EdDSA"] {
        let ended = run(&format!("generate signing-key --algorithm {algorithm}")).await;
        let key = crate::authentication::token::SigningKey::from_pem(ended.out.as_bytes()).unwrap();
        assert_eq!(key.algorithm().name(), algorithm);
    }
    let failure = run("generate signing-key --algorithm RS256").await.failure();
    assert!(failure.contains("--algorithm") && failure.contains("openssl genrsa"), "{failure}");
    let failure = run("generate signing-key --algorithm HS256").await.failure();
    assert!(failure.contains("must be ES256, EdDSA or RS256"), "{failure}");
}

#[tokio::test]
async fn all_problems_of_a_token_are_reported_at_once() {
    let flags = "--signing-key-file /nowhere --kid a/b --valid-for -1h";
    let report =
        run(&format!("generate dataplane-token {flags} --name Bad_Name --mesh a.b --workload X --tag t"))
            .await
            .failure();
    for problem in
        ["7 problems", "/nowhere", "--kid", "--valid-for", "--name", "--mesh", "--workload", "--tag"]
    {
        assert!(report.contains(problem), "{problem}: {report}");
    }
    let unset = run("generate dataplane-token --signing-key-file key --kid 1").await.failure();
    assert!(unset.contains("--valid-for <DURATION>"), "{unset}");
    let key = "--signing-key-file tests/tokens/rs256.key.pem --kid 1";
    for lifetime in ["0s", "999999h"] {
        let report =
            run(&format!("generate user-token {key} --name a --valid-for {lifetime}")).await.failure();
        assert!(report.contains("--valid-for") && report.contains(lifetime), "{report}");
    }
    let report = run(&format!("generate user-token {key} --name= --valid-for 1h")).await.failure();
    assert!(report.contains("--name: \"\": must have 1 to 253 bytes"), "{report}");
    let public = "--signing-key-file tests/tokens/rs256.pem --kid 1 --name a --valid-for 1h";
    let report = run(&format!("generate user-token {public}")).await.failure();
    assert!(report.contains("BEGIN PRIVATE KEY") && !report.contains("MII"), "{report}");
    assert!(run(&format!("generate user-token {key} --name a --valid-for 1h")).await.result.is_ok());
}

#[tokio::test]
async fn a_tls_certificate_has_all_hostnames_and_its_key_is_private() {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let files = format!("--cert-file {} --key-file {}", cert.display(), key.display());
    let names = ["headcount.example.com", "*.headcount.svc", "10.1.2.3", "::1"];
    let command =
        format!("generate tls-certificate {files} --valid-for 48h --hostname {}", names.join(" --hostname "));
    let before = SystemTime::now();
    let ended = run(&command).await;
    assert_eq!((ended.result.unwrap(), &*ended.out, &*ended.err), (Outcome::Success, "", ""));
    assert_eq!((mode(&cert), mode(&key)), (0o644, 0o600));

    let der = CertificateDer::from_pem_file(&cert).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let client = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
    let verify = |name: &str, after: Duration| {
        let at = UnixTime::since_unix_epoch(before.duration_since(SystemTime::UNIX_EPOCH).unwrap() + after);
        client.verify_server_cert(&der, &[], &ServerName::try_from(name).unwrap(), &[], at)
    };
    for name in ["headcount.example.com", "web.headcount.svc", "10.1.2.3", "::1"] {
        verify(name, Duration::ZERO).unwrap();
        verify(name, Duration::from_hours(47)).unwrap();
    }
    for other in ["localhost", "10.1.2.4", "headcount.svc"] {
        assert!(verify(other, Duration::ZERO).is_err(), "{other}");
    }
    assert!(verify("::1", Duration::from_hours(49)).is_err(), "--valid-for has passed");

    let failure = run(&command).await.failure();
    assert!(failure.contains("--cert-file") && failure.contains("never overwritten"), "{failure}");
    fs::remove_file(&cert).unwrap();
    let failure = run(&command).await.failure();
    assert!(failure.contains("--key-file") && !cert.exists(), "{failure}");
}

#[tokio::test]
async fn hostnames_of_a_tls_certificate_are_names_or_addresses() {
    let unset = run("generate tls-certificate").await.failure();
    assert!(unset.contains("--hostname <NAME>"), "{unset}");
    for bad in [
        "https://a.example",
        "localhost:7100",
        "[::1]",
        "a.*.example",
        "*",
        "a..b",
        "a.example.",
        "h\u{f6}st",
    ] {
        // In a directory that does not exist, so that a name that is accepted writes nothing.
        let files = "--cert-file /nowhere/tls.crt --key-file /nowhere/tls.key";
        let report =
            run(&format!("generate tls-certificate {files} --hostname ok --hostname {bad} --valid-for 0s"))
                .await
                .failure();
        for part in ["2 problems", &format!("--hostname: \"{bad}\": must be a DNS name"), "--valid-for"] {
            assert!(report.contains(part), "{part}: {report}");
        }
    }
}
