//! The audit log of the real server has each change and each refusal with its caller, and no part of a token.

use std::fs;

use serde_json::Value;

use headcount::proto::{
    IssueDataplaneTokenRequest, IssueUserTokenRequest, ListWorkloadsRequest,
    token_service_client::TokenServiceClient, workload_service_client::WorkloadServiceClient,
};
use tonic::Code;

use crate::{
    secured::Secured,
    support::{Issuer, Program, Server, Site, headcount, retry},
};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

fn has(line: &Value, operation: &str, outcome: &str) -> bool {
    line["operation"] == operation && line["outcome"] == outcome
}

#[tokio::test]
async fn changes_and_refusals_are_recorded_also_after_the_file_was_rotated() {
    let issuer = Issuer::new().await;
    let access = issuer.access(&["use: dataplane\n  mesh: default", "use: user"]);
    let access = issuer.site.file("access.yaml", &access);
    let (data, log) = (issuer.site.path("data"), issuer.site.path("audit.log"));
    let flags = format!(
        "--access-file {} --data-dir {} --audit-log {}",
        access.display(),
        data.display(),
        log.display()
    );
    let server = Server::start(&flags).await;
    let admin = issuer.token("user-token", "--name admin --group x").await;
    let viewer = issuer.token("user-token", "--name bob --group ops").await;
    let web = issuer.token("dataplane-token", "--name web-1 --workload web").await;
    let [admin_file, viewer_file, web_file] = [("admin", &admin), ("viewer", &viewer), ("web", &web)]
        .map(|(name, token)| issuer.site.file(&format!("{name}.token"), token));
    let run = async |command: &str, token: &std::path::Path| {
        let command = format!("{command} --server http://{} --token-file {}", server.grpc, token.display());
        Program::start(&mut headcount(&command)).end().await
    };

    run("generate signing-key --kid 2026 --use user", &admin_file).await.expect_exit(0);
    let carol = run("generate user-token --name carol --group ops --valid-for 1h", &admin_file).await;
    let carol = carol.expect_exit(0).out;
    run("delete signing-key 2026 --use user --yes", &viewer_file).await.expect_exit(2);
    let dataplane = issuer.site.file(
        "dataplane.yaml",
        "type: Dataplane\nmesh: default\nname: web-1\nlabels: {kuma.io/workload: web}\n\
         networking: {address: 127.0.0.1}\n",
    );
    let agent = format!(
        "agent --dataplane-file {} --server http://{} --token-file {}",
        dataplane.display(),
        server.grpc,
        web_file.display()
    );
    let agent = Program::start(&mut headcount(&agent));
    let text = retry("the session in the audit log", async || {
        let text = fs::read_to_string(&log).unwrap();
        lines(&text).iter().any(|line| has(line, "open session", "allowed")).then_some(text)
    })
    .await;
    let all = lines(&text);
    let find = |operation: &str, outcome: &str| {
        let found = all.iter().find(|line| has(line, operation, outcome));
        found.unwrap_or_else(|| panic!("no line of {operation}, {outcome}: {text}"))
    };
    let created = find("create signing key", "allowed");
    assert_eq!(created["principal"]["name"], "admin", "{created}");
    assert_eq!(
        (&created["object"]["kind"], &created["object"]["name"]),
        (&"signing key".into(), &"2026".into())
    );
    assert!(created["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{created}");
    find("issue user token", "allowed");
    let refused = all.iter().find(|line| line["outcome"] == "denied").unwrap();
    assert_eq!(refused["principal"]["name"], "bob", "{refused}");
    assert_eq!(find("open session", "allowed")["object"]["name"], "web-1");

    // A log rotation.
    let rotated = issuer.site.path("audit.log.1");
    fs::rename(&log, &rotated).unwrap();
    let revoked = format!("revoke token --file {}", web_file.display());
    retry("a line in the new file", async || {
        run(&revoked, &admin_file).await.expect_exit(0);
        let text = fs::read_to_string(&log).ok()?;
        lines(&text).iter().any(|line| has(line, "revoke token", "allowed")).then_some(())
    })
    .await;
    agent.wait_for_stderr("token is revoked").await;
    retry("the end of the session in the audit log", async || {
        let text = [&rotated, &log].map(|file| fs::read_to_string(file).unwrap()).concat();
        lines(&text).iter().any(|line| line["outcome"] == "ended").then_some(())
    })
    .await;
    let text = [&rotated, &log].map(|file| fs::read_to_string(file).unwrap()).concat();
    for token in [&admin, &viewer, &web, carol.trim()] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!text.contains(signature) && !text.contains(&token[..20]), "a token is in {text}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_a_usage_error() {
    let site = Site::new();
    let path = site.path("missing/audit.log");
    let command = format!("serve --audit-log {}", path.display());
    let ended = Program::start(&mut headcount(&command)).end().await.expect_exit(64);
    ended.expect_stderr(&["--audit-log", &path.display().to_string()]);
}

#[tokio::test]
async fn a_refused_response_has_the_request_id_of_its_line() {
    let site = Site::new();
    let log = site.path("audit.log");
    let flags = format!("--audit-log {}", log.display());
    let secured = Secured::start(&["grpc", "http", "kube"], &flags).await;
    let (server, client) = (&secured.server, secured.client(None));
    let forbidden = secured.token("user-token", "--name bob --group dev").await;
    let forbidden = format!("Bearer {forbidden}");
    let mut responses = Vec::new();
    for given in [None, Some("0b9e4d0c-6a53")] {
        for credential in [None, Some("Bearer nonsense"), Some(&*forbidden)] {
            let id = given.map(|id| format!("X-Request-Id: {id}\r\n")).unwrap_or_default();
            let token = credential.map(|token| format!("Authorization: {token}\r\n")).unwrap_or_default();
            let headers = format!("{id}{token}");
            for (listener, address, path) in
                [("http", server.http, "/metrics"), ("kube", server.kube, "/apis/kuma.io/v1alpha1/workloads")]
            {
                let response = client.get(address, path, &headers).await;
                assert!(matches!(response.status, 401 | 403), "{response:?}");
                responses.push((given, listener, response.header("x-request-id").map(str::to_owned)));
            }
            let mut request = tonic::Request::new(ListWorkloadsRequest::default());
            for (name, value) in [("x-request-id", given), ("authorization", credential)] {
                if let Some(value) = value {
                    request.metadata_mut().insert(name, value.parse().unwrap());
                }
            }
            let channel = client.connect(server.grpc, None).await.unwrap();
            let refused = WorkloadServiceClient::new(channel).list_workloads(request).await.unwrap_err();
            let id = refused.metadata().get("x-request-id").map(|id| id.to_str().unwrap().to_owned());
            responses.push((given, "grpc", id));
        }
    }
    let text = retry("a line for each response", async || {
        let text = fs::read_to_string(&log).unwrap();
        (text.lines().count() == responses.len()).then_some(text)
    })
    .await;
    for (line, (given, listener, id)) in lines(&text).iter().zip(&responses) {
        let id = id.as_deref().unwrap_or_else(|| panic!("a response of {listener} has no id"));
        assert_eq!((line["listener"].as_str(), line["requestId"].as_str()), (Some(*listener), Some(id)));
        assert!(given.is_none_or(|given| given == id), "{id}");
    }
    let random = responses.iter().filter(|(given, ..)| given.is_none()).map(|(.., id)| id);
    let distinct: std::collections::BTreeSet<_> = random.collect();
    assert_eq!(distinct.len(), responses.len() / 2, "each request has an id of its own");
}

#[tokio::test]
async fn a_request_for_a_token_that_fails_has_a_line_if_its_caller_may_issue_it() {
    let site = Site::new();
    let log = site.path("audit.log");
    let secured = Secured::start(&["grpc"], &format!("--audit-log {}", log.display())).await;
    let channel = secured.client(None).connect(secured.server.grpc, None).await.unwrap();
    let mut expected = Vec::new();
    for (user, code) in [("admin", Code::InvalidArgument), ("bob", Code::PermissionDenied)] {
        let token = secured.token("user-token", &format!("--name {user} --group dev")).await;
        let authorize = |mut metadata: tonic::metadata::MetadataMap| {
            metadata.insert("authorization", format!("Bearer {token}").parse().unwrap());
            metadata
        };
        let hour = Some(prost_types::Duration { seconds: 3_600, nanos: 0 });
        let mut client = TokenServiceClient::new(channel.clone());
        for (mesh, name, valid_for) in [("-", "a", hour), ("default", "-", hour), ("default", "a", None)] {
            let (mesh, name) = (mesh.to_owned(), name.to_owned());
            let request = IssueDataplaneTokenRequest { mesh, name, valid_for, ..Default::default() };
            let mut request = tonic::Request::new(request);
            *request.metadata_mut() = authorize(request.metadata().clone());
            let status = client.issue_dataplane_token(request).await.unwrap_err();
            assert_eq!(status.code(), code, "{status:?}");
            expected.push((user, "issue dataplane token"));
        }
        for (name, valid_for) in [("", hour), ("alice", None)] {
            let request = IssueUserTokenRequest { name: name.into(), valid_for, ..Default::default() };
            let mut request = tonic::Request::new(request);
            *request.metadata_mut() = authorize(request.metadata().clone());
            let status = client.issue_user_token(request).await.unwrap_err();
            assert_eq!(status.code(), code, "{status:?}");
            expected.push((user, "issue user token"));
        }
    }
    let text = retry("a line for each request", async || {
        let text = fs::read_to_string(&log).unwrap();
        (text.lines().count() == expected.len()).then_some(text)
    })
    .await;
    for (line, (user, action)) in lines(&text).iter().zip(expected) {
        assert_eq!((&line["principal"]["name"], &line["action"]), (&user.into(), &action.into()), "{line}");
        let outcome =
            if user == "admin" { ["failed", "InvalidArgument"] } else { ["denied", "no_permission"] };
        assert_eq!((&line["outcome"], &line["reason"]), (&outcome[0].into(), &outcome[1].into()), "{line}");
    }
}
