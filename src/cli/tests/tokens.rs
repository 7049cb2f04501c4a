//! Signing keys, tokens and revocations by a server: `generate`, `get`, `revoke` and `delete`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    time::SystemTime,
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use tempfile::TempDir;

use super::{Ended, Failure, Outcome, run};
use crate::{
    app::App,
    authentication::token::identify,
    config::{Config, KubeSettings},
    proto::{RevokeTokenRequest, token_service_client::TokenServiceClient},
};

/// A server on loopback, which trusts callers without a credential.
struct Server {
    app: App,
    directory: TempDir,
}

impl Server {
    /// Starts a server, with or without a data directory.
    async fn start(durable: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let kube = KubeSettings { addr: None, ..KubeSettings::default() };
        let data_dir = durable.then(|| directory.path().join("data"));
        let config = Config { grpc_addr: loopback, http_addr: loopback, kube, data_dir, ..Config::default() };
        Self { app: App::start(config).await.unwrap(), directory }
    }

    async fn run(&self, command: &str) -> Ended {
        run(&format!("{command} --server {}", self.app.addresses().grpc)).await
    }

    /// The output of a command that succeeds.
    async fn out(&self, command: &str) -> String {
        let ended = self.run(command).await;
        assert_eq!((ended.result.unwrap(), &*ended.err), (Outcome::Success, ""), "{command}");
        ended.out
    }

    /// The revoked tokens, with the seconds until they end.
    async fn revocations(&self) -> BTreeMap<String, u64> {
        let listed: serde_json::Value =
            serde_json::from_str(&self.out("get revocations -o json").await).unwrap();
        let seconds = |item: &serde_json::Value| {
            let expires = humantime::parse_rfc3339_weak(item["expiresAt"].as_str().unwrap()).unwrap();
            let left = expires.duration_since(SystemTime::now()).unwrap().as_secs();
            (item["id"].as_str().unwrap().to_owned(), left)
        };
        listed["items"].as_array().unwrap().iter().map(seconds).collect()
    }

    /// Issues a token, and returns its identifier, its file and the token.
    async fn issue(&self, kind: &str) -> (String, String, String) {
        let token = self.out(&format!("generate {kind} --name web-1 --valid-for 1h")).await;
        let token = token.trim_end().to_owned();
        let id = identify(&token).unwrap();
        let file = self.directory.path().join(id.as_str());
        // Editors end a file with a line break.
        fs::write(&file, format!("{token}\n")).unwrap();
        (id.to_string(), file.display().to_string(), token)
    }
}

#[tokio::test]
async fn a_server_creates_keys_issues_tokens_revokes_them_and_deletes_keys() {
    let server = Server::start(true).await;
    for (flags, usage) in [
        ("1 --use dataplane --mesh default", "dataplane tokens of mesh \"default\""),
        ("1 --use dataplane --algorithm EdDSA", "dataplane tokens of all meshes"),
        ("1 --use user", "user tokens"),
    ] {
        let created = server.out(&format!("generate signing-key --kid {flags}")).await;
        assert_eq!(created, format!("signing key 1 for {usage} created\n"));
    }
    let taken = server.run("generate signing-key --kid 1 --use user").await.failure();
    assert!(
        taken.contains("rejected the request: there is already a key with KID 1 for user tokens"),
        "{taken}"
    );

    let listed = server.out("get signing-keys").await;
    let rows: Vec<Vec<_>> = listed.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    assert_eq!(
        rows,
        [
            ["KID", "USE", "MESH", "ALGORITHM"],
            ["1", "dataplane", "default", "ES256"],
            ["1", "dataplane", "<all>", "EdDSA"],
            ["1", "user", "<none>", "ES256"],
        ]
    );
    let json: serde_json::Value =
        serde_json::from_str(&server.out("get signing-keys -o json").await).unwrap();
    let key = &json["items"][0];
    assert_eq!(
        (&key["type"], &key["kid"], &key["mesh"]),
        (&"SigningKey".into(), &"1".into(), &"default".into())
    );
    let fields: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["algorithm", "creationTime", "kid", "mesh", "type", "use"], "no private key");

    let (of_dataplane, file, _) = server.issue("dataplane-token").await;
    let (of_user, ..) = server.issue("user-token --group ops").await;
    assert_eq!(server.run("get revocations").await.err, "No revocations found.\n");
    let revoked = server.out(&format!("revoke token --file {file}")).await;
    assert_eq!(revoked, format!("token {of_dataplane} revoked\n"));
    assert_eq!(server.out(&format!("revoke token {of_user}")).await, format!("token {of_user} revoked\n"));
    let listed = server.revocations().await;
    assert_eq!(
        listed.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        [&*of_dataplane, &*of_user].into()
    );

    let unconfirmed = server.run("delete signing-key 1 --use user").await;
    let Err(Failure::Usage(text)) = unconfirmed.result else { panic!("{}", unconfirmed.out) };
    assert!(text.starts_with("all tokens that key 1 for user tokens has signed would end"), "{text}");
    assert!(text.ends_with("repeat the command with --yes"), "{text}");
    let deleted = server.out("delete signing-key 1 --use user --yes").await;
    assert_eq!(deleted, "signing key 1 for user tokens deleted\n");
    let again = server.run("delete signing-key 1 --use user --yes").await;
    assert_eq!(again.result.unwrap(), Outcome::Negative);
    assert!(
        again.err.starts_with("there is no signing key with KID 1 for user tokens; list the keys"),
        "{}",
        again.err
    );
    let no_key = server.run("generate user-token --name alice --valid-for 1h").await.failure();
    assert!(no_key.contains("there is no signing key for user tokens: create one"), "{no_key}");
    assert_eq!(server.out("get signing-keys").await.lines().count(), 3);
    server.app.drain().await;
}

#[tokio::test]
async fn a_server_without_a_data_directory_keeps_no_key_and_states_that_a_revocation_ends() {
    let server = Server::start(false).await;
    let rejected = server.run("generate signing-key --kid 1 --use user").await.failure();
    assert!(rejected.contains("start it with --data-dir"), "{rejected}");
    let revoked = server.run("revoke token some-id").await;
    assert_eq!((revoked.result.unwrap(), &*revoked.out), (Outcome::Success, "token some-id revoked\n"));
    assert!(revoked.err.contains("valid again after the server's next start"), "{}", revoked.err);
    server.app.drain().await;
}

/// A token with the same identifier, whose sender has written another end into it.
fn with_end(token: &str, end: u64) -> String {
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut claims: serde_json::Value =
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["exp"] = end.into();
    format!("{header}.{}.{signature}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// A revocation that is dropped too early would make its token valid again.
#[tokio::test]
async fn a_revocation_lasts_as_long_as_its_token_and_an_end_that_no_key_has_signed_does_not_count() {
    const YEAR: u64 = 365 * 86_400;
    let server = Server::start(true).await;
    server.out("generate signing-key --kid 1 --use user").await;
    let (by_file, file, token) = server.issue("user-token").await;
    server.out(&format!("revoke token --file {file}")).await;
    let (by_id, ..) = server.issue("user-token").await;
    server.out(&format!("revoke token {by_id}")).await;
    let (forged, file, other) = server.issue("user-token").await;
    for end in [1, 253_402_300_799] {
        fs::write(&file, with_end(&other, end)).unwrap();
        server.out(&format!("revoke token --file {file}")).await;
        let seconds = server.revocations().await;
        let years = [&by_file, &by_id, &forged].map(|id| seconds[id] / YEAR);
        assert_eq!(years, [0, 10, 10]);
        assert!(seconds[&by_file] <= 3_600, "the hour of the token");
    }

    let now = SystemTime::now();
    let at = |years: i64| Some(prost_types::Timestamp::from(now).seconds + years * 365 * 86_400);
    let at = |years| at(years).map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
    let address = format!("http://{}", server.app.addresses().grpc);
    let mut client = TokenServiceClient::connect(address).await.unwrap();
    for (id, expires_at, token, problem) in [
        ("a", at(-1), "", "expires_at: must be within 10 years"),
        ("a", at(11), "", "expires_at: must be within 10 years"),
        ("a", at(1), &*token, "expires_at: must not be set"),
        ("a", None, &*token, "id: is not the identifier of the token"),
        ("a", None, "nonsense", "token: could not parse token"),
    ] {
        let request = RevokeTokenRequest { id: id.into(), expires_at, token: token.into() };
        let status = client.revoke_token(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains(problem), "{problem}: {status:?}");
        assert!(!status.message().contains(&*other), "{status:?}");
    }
    let request = RevokeTokenRequest { id: "a".into(), expires_at: at(9), ..RevokeTokenRequest::default() };
    client.revoke_token(request).await.unwrap();
    assert_eq!(server.revocations().await["a"] / YEAR, 8);
    drop(client);
    server.app.drain().await;
}

#[tokio::test]
async fn a_key_is_at_a_server_or_in_a_file() {
    const KEY: &str = "--signing-key-file tests/tokens/rs256.key.pem";
    for (command, problem) in [
        (
            "generate user-token --name a --valid-for 1h".to_owned(),
            "the key that signs the token is missing: set --server",
        ),
        (
            format!("generate user-token --name a --valid-for 1h {KEY} --kid 1 --server a"),
            "--signing-key-file: can't be combined with --server",
        ),
        (
            format!("generate dataplane-token --valid-for 1h {KEY} --kid 1 --context prod"),
            "--signing-key-file: can't be combined with --context",
        ),
        (format!("generate dataplane-token --valid-for 1h {KEY}"), "--kid: is missing"),
        (
            "generate dataplane-token --valid-for 1h --kid 1 --server a".to_owned(),
            "--kid: requires --signing-key-file",
        ),
        (
            "generate signing-key --kid 1 --use user".to_owned(),
            "the server is missing that is to keep the key",
        ),
        ("generate signing-key --server a".to_owned(), "--server: requires --kid"),
        ("generate signing-key --use user".to_owned(), "--use and --mesh require --kid"),
        (
            "generate signing-key --kid 1 --server a".to_owned(),
            "--use: is missing: write --use dataplane or --use user",
        ),
        (
            "generate signing-key --kid 1 --use user --server a --key-file f".to_owned(),
            "--key-file: can't be combined with --kid: the key stays at the server",
        ),
        (
            "generate signing-key --kid 1 --use user --mesh m --server a".to_owned(),
            "--mesh: user tokens belong to no mesh",
        ),
        ("delete signing-key a/b --use user --yes --server a".to_owned(), "KID: \"a/b\": must have 1 to 64"),
    ] {
        let ended = run(&command).await;
        assert!(matches!(ended.result, Err(Failure::Usage(_))), "{command}");
        let report = ended.failure();
        assert!(report.contains(problem) && report.contains("1 problem"), "{command}: {report}");
    }
}

#[tokio::test]
async fn the_server_of_the_current_context_issues_tokens_and_a_key_file_needs_no_server() {
    let directory = tempfile::tempdir().unwrap();
    let contexts = directory.path().join("contexts.yaml");
    fs::write(&contexts, "current-context: a\ncontexts: {a: {server: 'http://127.0.0.1:1'}}\n").unwrap();
    let token = format!("generate user-token --name a --valid-for 1h --contexts-file {}", contexts.display());
    let report = run(&token).await.failure();
    assert!(report.starts_with("cannot reach the server at http://127.0.0.1:1"), "{report}");
    let offline = run(&format!("{token} --kid 1 --signing-key-file tests/tokens/rs256.key.pem")).await;
    assert_eq!(offline.result.unwrap(), Outcome::Success);
}

#[tokio::test]
async fn a_token_that_is_revoked_is_never_printed() {
    let server = Server::start(true).await;
    server.out("generate signing-key --kid 1 --use user").await;
    let (_, file, token) = server.issue("user-token").await;
    let secret = token.rsplit('.').next().unwrap();
    let cut = file.clone() + "-cut";
    fs::write(&cut, &token[..token.len() / 2]).unwrap();
    for (command, expected) in [
        (format!("revoke token {token}"), "this is a token, which is a secret, and not its identifier"),
        (format!("revoke token {}", &token[20..]), "TOKEN_ID: must have 1 to 128 visible ASCII characters"),
        (format!("revoke token --file {cut}"), "-cut: could not parse token"),
        ("revoke token --file /nowhere".to_owned(), "--file: /nowhere: can't read it"),
        ("revoke token".to_owned(), "TOKEN_ID"),
        (format!("revoke token --file {file}"), " revoked\n"),
    ] {
        let ended = server.run(&command).await;
        let shown = format!(
            "{}{}{}",
            ended.out,
            ended.err,
            ended.result.err().map(|error| error.to_string()).unwrap_or_default()
        );
        assert!(shown.contains(expected), "{command}: {shown}");
        assert!(!shown.contains(secret) && !shown.contains(&token[40..60]), "{shown}");
    }
    server.app.drain().await;
}
