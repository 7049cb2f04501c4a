//! TLS and credentials of the client commands.

use std::fs;

use super::run;
use crate::net::{
    client::test_server::{TlsServer, config, config_with},
    tls::pki::Authority,
};

/// The files of a client, by name.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let files_of = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            fs::write(files_of.path(name), text).unwrap();
        }
        files_of
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The report of a command, in which `@NAME` is a file.
    async fn failure(&self, command: &str) -> String {
        let directory = format!("{}/", self.0.path().display());
        let report = run(&command.replace('@', &directory)).await.failure();
        report.replace(&directory, "@")
    }
}

#[tokio::test]
async fn what_would_not_protect_the_connection_is_rejected() {
    let ca = Authority::new();
    let pair = ca.client("me");
    let files = Files::new(&[
        ("ca", &ca.pem),
        ("token", "secret"),
        ("crt", &pair.cert),
        ("key", &pair.key),
        ("bad", "no PEM"),
    ]);
    for (flags, problems) in [
        ("--server https://a", &["1 problem", "--ca-file: is missing: an https:// server requires"][..]),
        ("--server https://a --ca-file @none", &["--ca-file: @none: can't read it"]),
        ("--server https://a --ca-file @bad", &["--ca-file: @bad: has no certificate"]),
        ("--server a:1 --ca-file @ca", &["--ca-file: requires TLS, and http://a:1 has none: write https://"]),
        (
            "--server a --token-file @token",
            &[
                "--token-file: its token would be sent to http://a:7100 without encryption",
                "--insecure-plaintext-token",
            ],
        ),
        ("--server localhost --token-file @none", &["--token-file: @none: can't read it"]),
        (
            "--server https://a --ca-file @ca --client-cert-file @crt",
            &["--client-cert-file: requires the file of its private key: set --client-key-file"],
        ),
        (
            "--server https://a --ca-file @ca --client-key-file @key",
            &["--client-key-file: requires the file of its certificate: set --client-cert-file"],
        ),
        (
            "--server https://a --ca-file @ca --client-cert-file @key --client-key-file @key",
            &["--client-cert-file: @key: has no certificate"],
        ),
        (
            "--server https://a --ca-file @ca --tls-server-name a/b",
            &["--tls-server-name: \"a/b\": must be a DNS name or an IP address"],
        ),
        (
            "--server a --tls-server-name b --client-key-file @key",
            &["3 problems", "--tls-server-name: requires TLS", "--client-key-file: requires TLS"],
        ),
    ] {
        for command in ["get workloads", "simulate", "wait workload a --healthy 1", "backup --output -"] {
            let report = files.failure(&format!("{command} {flags}")).await;
            for problem in problems {
                assert!(report.contains(problem), "{command} {flags}: {problem}\n---\n{report}");
            }
            assert!(!report.contains("secret"), "{report}");
        }
    }
}

#[tokio::test]
async fn a_token_may_be_sent_to_loopback_or_if_that_is_accepted() {
    let files = Files::new(&[("token", "secret")]);
    for flags in [
        "--server 127.0.0.1:1",
        "--server [::1]:1",
        "--server 192.0.2.1.invalid:1 --insecure-plaintext-token",
    ] {
        let report = files.failure(&format!("get workloads --token-file @token {flags}")).await;
        assert!(report.starts_with("cannot reach the server"), "{report}");
    }
}

#[tokio::test]
async fn calls_have_the_token_and_the_certificate() {
    let (ca, clients) = (Authority::new(), Authority::named("clients"));
    let pair = clients.client("me");
    let files = Files::new(&[("ca", &ca.pem), ("token", "t1\n"), ("crt", &pair.cert), ("key", &pair.key)]);
    let server = TlsServer::start(config_with(&ca.server(&["localhost"]), Some(&clients))).await;
    let flags = "--ca-file @ca --token-file @token --client-cert-file @crt --client-key-file @key";
    let report = files.failure(&format!("get workloads --server {} {flags}", server.url())).await;
    assert!(report.contains("does not support this request"), "the test server's answer: {report}");
    assert_eq!(server.authorizations(), [Some("Bearer t1".to_owned())]);
    assert!(server.certificates()[0].is_some());
}

#[tokio::test]
async fn an_invalid_server_certificate_is_explained_with_a_remedy() {
    let ca = Authority::new();
    let files = Files::new(&[("ca", &ca.pem)]);
    let server = TlsServer::start(config(&ca.server(&["a.example"]))).await;
    let report = files.failure(&format!("get workloads --server {} --ca-file @ca", server.url())).await;
    let expected = format!(
        "cannot connect to the server at {}: the server's certificate is not for localhost, but for a.example\n  \
         use a name of its certificate as the host, or set --tls-server-name to one",
        server.url()
    );
    assert_eq!(report, expected);
    let report = files
        .failure(&format!(
            "get workloads --server {} --ca-file @ca --tls-server-name a.example",
            server.url()
        ))
        .await;
    assert!(report.contains("does not support this request"), "{report}");
}
