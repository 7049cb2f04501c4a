//! The commands for keys and tokens against a server with TLS, by an operator with a token.

use crate::{
    pki::{Authority, Pair},
    support::{Ended, Program, Server, Site, headcount},
};

/// A server whose operators have tokens of a key that is in a file, and the flags of its clients.
struct Operated {
    server: Server,
    /// `--server` and `--ca-file`.
    connection: String,
}

impl Operated {
    async fn start() -> Self {
        let (site, ca) = (Site::new(), Authority::new());
        let Pair { cert, key } = ca.server(&[&site.any_port().ip().to_string()]);
        let (cert, key) = (site.file("tls.crt", &cert), site.file("tls.key", &key));
        let ca_file = site.file("ca.crt", &ca.pem);
        let (private, public) = (site.path("users.key"), site.path("users.pub"));
        let files = format!("--key-file {} --public-key-file {}", private.display(), public.display());
        run(&format!("generate signing-key {files}")).await.expect_exit(0);
        for group in ["operators", "viewers"] {
            let signer = format!("--signing-key-file {} --kid ops --valid-for 1h", private.display());
            let token = run(&format!("generate user-token --name alice --group {group} {signer}")).await;
            site.file(&format!("{group}.token"), &token.expect_exit(0).out);
        }
        let public = std::fs::read_to_string(public).unwrap().replace('\n', "\n    ");
        let access = site.file(
            "access.yaml",
            &format!(
                "roleBindings:\n- {{role: operator, groups: [operators]}}\n- {{role: viewer, groups: [viewers]}}\n\
                 tokenKeys:\n- kid: ops\n  use: user\n  publicKey: |\n    {public}\n"
            ),
        );
        let flags = format!(
            "--data-dir {} --tls-cert-file {} --tls-key-file {} --access-file {}",
            site.path("data").display(),
            cert.display(),
            key.display(),
            access.display()
        );
        let server = Server::start_at(site, &flags).await;
        let connection = format!("--server https://{} --ca-file {}", server.grpc, ca_file.display());
        Self { server, connection }
    }

    /// Starts a command as the owner of a token file.
    fn client(&self, command: &str, token: &str) -> Program {
        let token = self.server.site.path(token);
        let arguments = format!("{command} {} --token-file {}", self.connection, token.display());
        Program::start(&mut headcount(&arguments))
    }

    /// The output of a command of an operator.
    async fn operate(&self, command: &str) -> String {
        self.client(command, "operators.token").end().await.expect_exit(0).out
    }

    /// Issues a token for web-1, and writes it to the file of its agent.
    async fn issue(&self) {
        let command = "generate dataplane-token --name web-1 --workload web --valid-for 1h";
        let token = self.operate(command).await;
        self.server.site.file("web-1.token", &token);
    }

    /// Waits until `get dataplanes` shows whether web-1 is connected.
    async fn wait_for_connected(&self, connected: bool) {
        crate::support::retry("the connection of web-1", async || {
            let shown = self.operate("get dataplanes web-1 -o json").await;
            shown.contains(&format!("\"connected\": {connected}")).then_some(())
        })
        .await;
    }
}

async fn run(command: &str) -> Ended {
    Program::start(&mut headcount(command)).end().await
}

#[tokio::test]
async fn an_operator_makes_a_key_issues_revokes_and_deletes_and_each_ends_the_agents_session() {
    let operated = Operated::start().await;
    operated.operate("generate signing-key --kid 2026 --use dataplane --mesh default").await;
    operated.issue().await;
    let dataplane = operated.server.site.file(
        "dataplane.yaml",
        "type: Dataplane\nmesh: default\nname: web-1\nlabels: {kuma.io/workload: web}\n\
         networking: {address: 127.0.0.1}\n",
    );
    let agent = format!("agent --dataplane-file {}", dataplane.display());
    let agent = operated.client(&agent, "web-1.token");
    operated.operate("wait workload web --connected 1").await;

    let token = std::fs::read_to_string(operated.server.site.path("web-1.token")).unwrap();
    let file = operated.server.site.file("revoked.token", &token);
    let revoked = operated.operate(&format!("revoke token --file {}", file.display())).await;
    assert!(revoked.ends_with(" revoked\n") && !revoked.contains(token.trim()), "{revoked}");
    agent.wait_for_stderr("token is revoked").await;
    operated.wait_for_connected(false).await;
    let id = revoked.split(' ').nth(1).unwrap();
    assert!(operated.operate("get revocations").await.contains(id));

    operated.issue().await;
    operated.operate("wait workload web --connected 1").await;
    let deleted = "delete signing-key 2026 --use dataplane --mesh default --yes";
    operated.operate(deleted).await;
    agent.wait_for_stderr("there is no signing key with KID 2026").await;
    operated.wait_for_connected(false).await;
    let none = operated.client("get signing-keys", "operators.token").end().await.expect_exit(0);
    assert_eq!((&*none.out, &*none.err), ("", "No signing keys found.\n"));
    operated.client(deleted, "operators.token").end().await.expect_exit(1);
}

#[tokio::test]
async fn callers_that_are_no_operators_neither_see_nor_change_keys_and_tokens() {
    let operated = Operated::start().await;
    operated.operate("generate signing-key --kid 2026 --use dataplane").await;
    for command in [
        "generate signing-key --kid 2027 --use user",
        "generate dataplane-token --name web-1 --valid-for 1h",
        "generate user-token --name mallory --group operators --valid-for 1h",
        "get signing-keys",
        "get revocations",
        "revoke token some-id",
        "delete signing-key 2026 --use dataplane --yes",
    ] {
        let denied = operated.client(command, "viewers.token").end().await.expect_exit(2);
        assert!(denied.err.contains("\"alice\" has no permission to"), "{command}: {denied}");
        assert_eq!(denied.out, "", "{command}");
        let anonymous = run(&format!("{command} {}", operated.connection)).await.expect_exit(2);
        assert!(anonymous.err.contains("authentication is required"), "{command}: {anonymous}");
    }
    assert_eq!(operated.operate("get signing-keys").await.lines().count(), 2);
    assert_eq!(operated.operate("get revocations").await, "");
}
