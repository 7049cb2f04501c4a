//! Tests of the audit log with its thread.

mod rejected;

use std::{fs, net::SocketAddr, path::PathBuf, time::SystemTime};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Status;

use super::*;
use crate::{
    access::{Access, Action, Credential, CredentialId, Object, Policy},
    audit::{AccessControl, AuditedCaller, Operation, Subject},
    authentication::Trust,
    model::{AnonymousAccess, DataplaneGrant, KeyId, KeyUse, Principal, Proof, TokenId, User},
    registry::{Registry, RegistrySettings},
    telemetry::metrics::{Listener, Metrics},
};

struct Setup {
    directory: TempDir,
    metrics: Metrics,
    log: AuditLog,
    access: Access,
    control: AccessControl,
}

impl Setup {
    /// A log whose thread has not started.
    fn new() -> (Self, Writer) {
        Self::with(|trust| trust)
    }

    /// As [`Setup::new`], for a listener with other trust.
    fn with(trust: impl FnOnce(Trust) -> Trust) -> (Self, Writer) {
        let directory = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap();
        let file = LogFile::open(&directory.path().join("audit.log")).unwrap();
        let (log, writer) = AuditLog::new(file, metrics.audit.clone());
        let access = Access::new(Policy::default(), SystemTime::now);
        let trust = trust(Trust::without_credentials(access.clone())).listener(AnonymousAccess::Public);
        let control = AccessControl::new(Listener::Grpc, trust, metrics.refused.clone(), log.clone());
        (Self { directory, metrics, log, access, control }, writer)
    }

    fn start() -> Self {
        let (setup, writer) = Self::new();
        thread::spawn(move || writer.run());
        setup
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn user(&self) -> AuditedCaller {
        let user = User { name: "alice".into(), groups: vec!["ops".into()] };
        let id = CredentialId::Token(TokenId::parse("id", "7f0c").unwrap());
        let credential = Credential { id, expires: None, recheck: Arc::new(|| Ok(())) };
        let caller = self.access.caller(Principal::User(user), credential);
        self.control.accept(caller, &request_id("request-1"), &from_client())
    }

    /// The lines, without their times.
    async fn lines(&self) -> Vec<Value> {
        self.log.flush().await;
        let text = fs::read_to_string(self.path()).unwrap();
        let parse = |line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let time = line.as_object_mut().unwrap().remove("time").unwrap();
            let time = time.as_str().unwrap();
            assert!(time.len() == 24 && humantime::parse_rfc3339(time).is_ok(), "{time}");
            line
        };
        text.lines().map(parse).collect()
    }
}

fn request_id(id: &str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-request-id"), HeaderValue::from_str(id).unwrap())])
}

fn from_client() -> Extensions {
    let mut extensions = Extensions::new();
    extensions.insert(ConnectInfo(SocketAddr::from(([10, 0, 0, 7], 4711))));
    extensions
}

#[tokio::test]
async fn a_line_has_who_did_what_from_where_and_the_outcome() {
    let setup = Setup::start();
    let user = setup.user();
    user.allow(Action::ManageKeys, Object::Server).unwrap_err();
    let (usage, id) = (KeyUse::Users, KeyId::parse("kid", "1").unwrap());
    user.done(Operation::CreateSigningKey, Subject::SigningKey(&usage, &id), &"ES256");
    user.failed(Operation::RevokeToken, Subject::Server, &Status::unavailable("the disk is full"));
    let anonymous = setup.control.authenticate(&request_id("request-2"), &from_client()).unwrap();
    anonymous.allow(Action::ReadWorkloads, Object::Scope(None, None)).unwrap_err();

    let caller = json!({
        "listener": "grpc",
        "requestId": "request-1",
        "peer": "10.0.0.7:4711",
        "principal": { "kind": "user", "name": "alice", "groups": ["ops"] },
        "credential": { "kind": "token", "id": "7f0c" },
        "action": "manage keys",
    });
    let line = |fields: Value| {
        let mut line = caller.clone();
        line.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        line
    };
    let mut lines = setup.lines().await;
    let message = lines[0].as_object_mut().unwrap().remove("message").unwrap();
    assert!(message.as_str().unwrap().contains("no permission to manage keys"), "{message}");
    let server = json!({ "kind": "server" });
    assert_eq!(lines[0], line(json!({ "object": server, "outcome": "denied", "reason": "no_permission" })));
    let key = json!({ "kind": "signing key", "name": "1", "use": "user tokens" });
    let created = json!({
        "operation": "create signing key", "object": key, "outcome": "allowed", "message": "ES256"
    });
    assert_eq!(lines[1], line(created));
    // The message could quote what the client has sent.
    let failed = json!({
        "operation": "revoke token", "object": server, "outcome": "failed", "reason": "Unavailable"
    });
    assert_eq!(lines[2], line(failed));
    let refused = &lines[3];
    assert_eq!(refused["principal"], json!({ "kind": "anonymous" }));
    assert_eq!(refused["credential"], json!({ "kind": "none" }));
    assert_eq!(refused["object"], json!({ "kind": "scope" }));
    let outcome = ["requestId", "outcome", "reason"].map(|field| refused[field].as_str().unwrap());
    assert_eq!(outcome, ["request-2", "unauthenticated", "unauthenticated"]);
    assert_eq!(lines.len(), 4);
}

#[tokio::test]
async fn long_texts_are_cut() {
    let setup = Setup::start();
    let groups = ["g".repeat(2_000), "h".repeat(2_000), "i".repeat(2_000)];
    let user = User { name: "é".repeat(2_000), groups: groups.to_vec() };
    let id = CredentialId::FrontProxy("p".repeat(2_000));
    let credential = Credential { id, expires: None, recheck: Arc::new(|| Ok(())) };
    let caller = setup.access.caller(Principal::User(user), credential);
    let caller = setup.control.accept(caller, &request_id("request-1"), &from_client());
    caller.done(Operation::Backup, Subject::Server, &"m".repeat(2_000));
    let line = &setup.lines().await[0];
    let cut = |character: &str, times| Value::from(format!("{}...", character.repeat(times)));
    assert_eq!(line["principal"]["name"], cut("é", 512));
    assert_eq!(line["principal"]["groups"], json!([&groups[0], &groups[1], "..."]));
    assert_eq!(line["credential"]["id"], cut("p", 1_024));
    assert_eq!(line["message"], cut("m", 1_024));
}

#[tokio::test]
async fn no_part_of_a_rejected_token_is_recorded() {
    let setup = Setup::start();
    let header = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ";
    for token in [format!("{header}.eyJqdGkiOiJzZWNyZXQifQ.c2lnbmF0dXJl"), header.to_owned()] {
        for value in [format!("Bearer {token}"), token.clone(), format!("Basic {token}")] {
            let mut headers = request_id("request-1");
            headers.insert(AUTHORIZATION, HeaderValue::try_from(value).unwrap());
            setup.control.authenticate(&headers, &from_client()).unwrap_err();
        }
    }
    let lines = setup.lines().await;
    assert_eq!(lines.len(), 6);
    for line in lines {
        assert_eq!(
            (&line["outcome"], &line["reason"]),
            (&json!("unauthenticated"), &json!("bad_credential"))
        );
        let text = line.to_string();
        assert!(!text.contains("eyJ") && !text.contains("c2ln"), "{text}");
    }
}

#[tokio::test]
async fn the_token_of_a_pod_is_named_and_a_refused_new_one_is_recorded() {
    let setup = Setup::start();
    let grant = DataplaneGrant::unrestricted(Proof::ServiceAccountToken);
    let id = CredentialId::ServiceAccountToken("token-1".into());
    let credential = Credential { id, expires: None, recheck: Arc::new(|| Ok(())) };
    let caller = setup.access.caller(Principal::Dataplane(grant), credential);
    let caller = setup.control.accept(caller, &request_id("request-1"), &from_client());
    caller.done(Operation::RenewSession, Subject::Server, &"");
    setup.control.renew(&caller, "nonsense").await.unwrap_err();
    let lines = setup.lines().await;
    assert_eq!(lines[0]["credential"], json!({ "kind": "service account token", "id": "token-1" }));
    assert_eq!(lines[1]["outcome"], "unauthenticated");
    assert_eq!((&lines[1]["requestId"], lines.len()), (&json!("request-1"), 2));
}

#[tokio::test]
async fn a_flood_of_refusals_ends_with_its_sum() {
    let setup = Setup::start();
    let user = setup.user();
    for _ in 0..50 {
        user.allow(Action::ManageKeys, Object::Server).unwrap_err();
        user.done(Operation::Backup, Subject::Server, &"");
    }
    let lines = setup.lines().await;
    let count = |outcome: &str| lines.iter().filter(|line| line["outcome"] == outcome).count();
    assert_eq!(count("allowed"), 50, "what is allowed is not limited");
    assert_eq!(count("denied"), 11);
    let mut sum = lines.last().unwrap().clone();
    sum.as_object_mut().unwrap().remove("message");
    let expected =
        json!({ "address": "10.0.0.7", "outcome": "denied", "reason": "no_permission", "leftOut": 40 });
    assert_eq!(sum, expected);
}

#[tokio::test]
async fn a_full_queue_drops_lines_and_records_how_many() {
    let (setup, writer) = Setup::new();
    let user = setup.user();
    for _ in 0..CAPACITY + 3 {
        user.done(Operation::Backup, Subject::Server, &"");
    }
    assert_eq!(setup.metrics.audit.dropped(), 3);
    thread::spawn(move || writer.run());
    let lines = setup.lines().await;
    let lost: Vec<_> = lines.iter().filter(|line| line["outcome"] == "lost").collect();
    assert_eq!((lines.len(), lost.len()), (CAPACITY + 1, 1));
    assert_eq!(lost[0]["leftOut"], 3);
    // There is room again.
    user.done(Operation::Backup, Subject::Server, &"");
    let lines = setup.lines().await;
    assert_eq!((lines.len(), &lines[CAPACITY + 1]["outcome"]), (CAPACITY + 2, &json!("allowed")));
}

#[tokio::test]
async fn lines_of_an_outage_are_written_after_it() {
    let (setup, mut writer) = Setup::new();
    let failing = || setup.metrics.encode().unwrap().contains("\nheadcount_audit_log_failing 1\n");
    writer.retry_interval = std::time::Duration::from_millis(1);
    let logs = setup.directory.path().join("logs");
    fs::create_dir(&logs).unwrap();
    writer.file = LogFile::open(&logs.join("audit.log")).unwrap();
    fs::remove_dir_all(&logs).unwrap();
    // The next write checks the file.
    writer.file.check_next();
    thread::spawn(move || writer.run());
    let user = setup.user();
    for _ in 0..10 {
        user.done(Operation::Backup, Subject::Server, &"");
    }
    while !failing() {
        tokio::task::yield_now().await;
    }
    fs::create_dir(&logs).unwrap();
    setup.log.flush().await;
    assert_eq!(fs::read_to_string(logs.join("audit.log")).unwrap().lines().count(), 10);
    assert!(!failing());
    assert_eq!(setup.metrics.audit.dropped(), 0);
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let (setup, mut writer) = Setup::new();
    writer.retry_interval = std::time::Duration::from_millis(1);
    let thread = thread::spawn(move || writer.run());
    drop(setup);
    thread.join().unwrap();
}
