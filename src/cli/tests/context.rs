//! `headcount context`, and the context that a command uses.

use std::{fs, path::Path, sync::Arc};

use super::{Ended, Outcome, run, samples::workload, scripted_server::ScriptedServer};
use crate::proto::ListWorkloadsResponse;

/// A directory with a contexts file.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    async fn run(&self, command: &str) -> Ended {
        run(&format!("{command} --contexts-file {}", self.path("contexts.yaml"))).await
    }

    async fn done(&self, command: &str) -> String {
        let ended = self.run(command).await;
        assert!(matches!(ended.result, Ok(Outcome::Success)), "{command}: {:?}", ended.result);
        ended.out
    }
}

#[tokio::test]
async fn contexts_are_set_used_listed_shown_and_deleted() {
    let home = Home::new();
    assert_eq!(home.done("context list").await, "");
    home.done("context set prod --server https://headcount.example --ca-file ca.crt --token-file /t").await;
    home.done("context set b --server localhost:1").await;
    home.done("context use prod").await;
    let table =
        "CURRENT  NAME  SERVER\n         b     localhost:1\n*        prod  https://headcount.example\n";
    assert_eq!(home.done("context list").await, table);
    let ca = std::path::absolute("ca.crt").unwrap();
    let shown = home.done("context show").await;
    assert_eq!(
        shown,
        format!("server: https://headcount.example\nca-file: {}\ntoken-file: /t\n", ca.display())
    );
    home.done("context set prod --token-file= --tls-server-name x").await;
    let shown = home.done("context show prod").await;
    assert!(!shown.contains("token-file") && shown.contains("tls-server-name: x\n"), "{shown}");
    home.done("context delete prod").await;
    let failure = home.run("context show").await.failure();
    assert!(failure.contains("has no current context; give a name, one of: b"), "{failure}");
    for command in ["context use prod", "context delete prod", "context show prod"] {
        let failure = home.run(command).await.failure();
        assert!(failure.contains("has no such context; it has: b"), "{failure}");
    }
}

#[tokio::test]
async fn an_invalid_context_is_not_written() {
    let home = Home::new();
    let failure = home.run("context set a!b").await.failure();
    assert!(failure.contains("NAME: \"a!b\": the name of a context"), "{failure}");
    let failure = home.run("context set a --server ftp://x").await.failure();
    assert!(failure.contains("--server: \"ftp://x\": the scheme must be"), "{failure}");
    let failure = home.run("context set a --token-file a\u{7f}b").await.failure();
    assert!(failure.contains("\"contexts.a.token-file\": must not have control characters"), "{failure}");
    assert!(!Path::new(&home.path("contexts.yaml")).exists());
    fs::write(home.path("contexts.yaml"), "contexts: {a: {cafile: x}}").unwrap();
    for command in ["context set a --server b", "context list", "get workloads"] {
        let failure = home.run(command).await.failure();
        assert!(
            failure.contains("contexts.yaml: \"contexts.a.cafile\": there is no such field"),
            "{failure}"
        );
    }
}

/// A server that answers one list.
async fn server() -> (Arc<ScriptedServer>, std::net::SocketAddr) {
    let server = Arc::new(ScriptedServer::default());
    let workloads = vec![workload("web", 1)];
    server.list.push(Ok(ListWorkloadsResponse { workloads, ..ListWorkloadsResponse::default() }));
    let address = server.serve().await;
    (server, address)
}

#[tokio::test]
async fn a_command_uses_the_current_context_or_the_one_that_is_named() {
    let home = Home::new();
    for (command, current) in [("get workloads", true), ("get workloads --context a", false)] {
        let (server, address) = server().await;
        home.done(&format!("context set a --server {address}")).await;
        home.done("context set b --server http://127.0.0.1:1").await;
        home.done(if current { "context use a" } else { "context use b" }).await;
        let out = home.done(command).await;
        assert!(out.contains("web"), "{out}");
        assert_eq!(server.list.requests().len(), 1);
    }
    let failure = home.run("get workloads --context c").await.failure();
    assert!(failure.contains("--context: \"c\": ") && failure.contains("it has: a, b"), "{failure}");
}

#[tokio::test]
async fn a_flag_takes_precedence_and_an_address_replaces_the_current_context() {
    let home = Home::new();
    home.done("context set a --server https://h --ca-file /nowhere/ca --token-file /nowhere/token").await;
    home.done("context use a").await;
    let (_server, address) = server().await;
    // The token is for the server of the context.
    let out = home.done(&format!("get workloads --server {address}")).await;
    assert!(out.contains("web"), "{out}");
    let failure = home.run("get workloads --ca-file /other/ca").await.failure();
    let file = home.path("contexts.yaml");
    for problem in [
        "2 problems".to_owned(),
        "--ca-file: /other/ca: can't read it".to_owned(),
        format!("\"token-file\" of context \"a\" in {file}: /nowhere/token: can't read it"),
    ] {
        assert!(failure.contains(&problem), "{problem}: {failure}");
    }
    let failure = home.run(&format!("get workloads --context a --server {address}")).await.failure();
    assert!(
        failure.contains("\"ca-file\" of context \"a\"") && failure.contains("requires TLS"),
        "{failure}"
    );
}

#[tokio::test]
async fn relative_paths_are_those_of_the_file() {
    let home = Home::new();
    fs::write(home.path("contexts.yaml"), "contexts: {a: {token-file: t.jwt, server: 'https://h'}}").unwrap();
    let failure = home.run("get workloads --context a").await.failure();
    assert!(failure.contains(&format!("{}: can't read it", home.path("t.jwt"))), "{failure}");
    let config = home.run("kubeconfig --context a").await.failure();
    assert!(config.contains("t.jwt: can't read it"), "{config}");
    fs::write(home.path("t.jwt"), "token").unwrap();
    let config = home.done("kubeconfig --context a").await;
    assert!(config.contains("server: https://h:7102\n"), "{config}");
    assert!(config.contains(&format!("tokenFile: {}\n", home.path("t.jwt"))), "{config}");
    assert!(!config.contains("token: none"), "{config}");
}
