//! Tokens that the server issues and revokes, with the real agent and grpcurl.

use std::path::PathBuf;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::{Program, Server, Signal, peer};

/// Calls a method of the token service, and returns the response.
async fn call(server: &Server, grpcurl: &PathBuf, method: &str, request: Value) -> Value {
    let mut command = Command::new(grpcurl);
    command.args(["-plaintext", "-d", &request.to_string(), &server.grpc.to_string()]);
    let ended = Program::start(command.arg(format!("headcount.v1.TokenService/{method}"))).end().await;
    serde_json::from_str(&ended.expect_exit(0).out).unwrap()
}

async fn issue(server: &Server, grpcurl: &PathBuf, name: &str, seconds: u32) -> String {
    let request = json!({
        "mesh": "default", "name": name, "workload": "web", "valid_for": format!("{seconds}s")
    });
    let issued = call(server, grpcurl, "IssueDataplaneToken", request).await;
    issued["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

/// A server with a key, and agents with tokens of that key.
struct Issued {
    server: Server,
    grpcurl: PathBuf,
}

impl Issued {
    /// None if there is no grpcurl.
    async fn start() -> Option<Self> {
        let (grpcurl, server) = (peer("grpcurl")?, Server::start_durable("").await);
        let key = json!({ "key": { "kid": "1", "use": "KEY_USE_DATAPLANE", "mesh": "default" } });
        call(&server, &grpcurl, "CreateSigningKey", key).await;
        Some(Self { server, grpcurl })
    }

    async fn call(&self, method: &str, request: Value) -> Value {
        call(&self.server, &self.grpcurl, method, request).await
    }

    /// Issues a token for a dataplane, and writes it to the file of its agent.
    async fn issue(&self, name: &str, seconds: u32) -> String {
        let token = issue(&self.server, &self.grpcurl, name, seconds).await;
        self.server.site.file(&format!("{name}.token"), &token);
        token
    }

    fn agent(&self, name: &str) -> Program {
        let dataplane = format!(
            "type: Dataplane\nmesh: default\nname: {name}\nlabels: {{kuma.io/workload: web}}\n\
             networking: {{address: 127.0.0.1}}\n"
        );
        let dataplane = self.server.site.file(&format!("{name}.yaml"), &dataplane);
        let token = self.server.site.path(&format!("{name}.token"));
        let files = [dataplane, token].map(|path| path.display().to_string());
        self.server.client(&format!("agent --dataplane-file {} --token-file {}", files[0], files[1]))
    }
}

#[tokio::test]
async fn a_revoked_token_ends_its_session_and_stays_revoked_over_a_restart() {
    let Some(mut issued) = Issued::start().await else { return };
    let token = issued.issue("web-1", 3_600).await;
    let agent = issued.agent("web-1");
    let mut watch = issued.server.watch("web").await;
    watch.until(Some([1, 1, 1])).await;
    let id = claims(&token)["jti"].clone();
    let revoked = issued.call("RevokeToken", json!({ "id": id })).await;
    assert_eq!(revoked["durable"], true);
    watch.until(Some([0, 0, 1])).await;
    let denied = "the server denies access; each attempt reads the token and certificate files again code=Unauthenticated reason=";
    agent.wait_for_stderr(&format!("{denied}\"token is revoked")).await;

    issued.server.restart(Signal::KILL).await;
    let mut watch = issued.server.watch("web").await;
    watch.until(Some([0, 0, 1])).await;
    issued.issue("web-1", 3_600).await;
    watch.until(Some([1, 1, 1])).await;
}

#[tokio::test]
async fn the_tokens_of_a_deleted_key_end_their_sessions() {
    let Some(issued) = Issued::start().await else { return };
    issued.issue("web-1", 3_600).await;
    let agent = issued.agent("web-1");
    let mut watch = issued.server.watch("web").await;
    watch.until(Some([1, 1, 1])).await;
    let listed = issued.call("ListSigningKeys", json!({})).await;
    assert_eq!(listed["keys"][0]["algorithm"], "ES256", "{listed}");
    let key = json!({ "kid": "1", "use": "KEY_USE_DATAPLANE", "mesh": "default" });
    issued.call("DeleteSigningKey", key).await;
    watch.until(Some([0, 0, 1])).await;
    agent.wait_for_stderr("there is no signing key with KID 1").await;
}

#[tokio::test]
async fn a_session_outlives_its_token_if_the_file_has_a_fresh_one() {
    let Some(issued) = Issued::start().await else { return };
    issued.issue("web-1", 10).await;
    issued.issue("web-2", 10).await;
    let _agents = [issued.agent("web-1"), issued.agent("web-2")];
    let mut watch = issued.server.watch("web").await;
    watch.until(Some([2, 2, 2])).await;
    let session = issued.session_of("web-1").await;
    assert_ne!(session, Value::Null);
    issued.issue("web-1", 3_600).await;
    // The token of the other agent ends last.
    watch.until(Some([1, 1, 2])).await;
    assert_eq!(issued.session_of("web-1").await, session, "the session goes on");
    assert_eq!(issued.session_of("web-2").await, Value::Null);
}

impl Issued {
    /// The identifier of the session of a dataplane; null if it is not connected.
    async fn session_of(&self, name: &str) -> Value {
        let ended = self.server.run(&format!("get dataplanes {name} -o json")).await.expect_exit(0);
        let shown: Value = serde_json::from_str(&ended.out).unwrap();
        let found = if shown["items"].is_array() { &shown["items"][0] } else { &shown };
        assert_eq!(found["name"], name, "{shown}");
        found["status"]["sessionId"].clone()
    }
}
