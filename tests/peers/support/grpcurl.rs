//! grpcurl, which knows of our protos only what the server tells it.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tokio::process::Command;

use super::{Ended, Program, Server, peer};

/// grpcurl, pointed at a server.
pub(crate) struct Grpcurl {
    program: PathBuf,
    server: SocketAddr,
}

impl Grpcurl {
    /// The program; none if it is missing.
    pub(crate) fn find() -> Option<impl Fn(&Server) -> Self> {
        let program = peer("grpcurl")?;
        Some(move |server: &Server| Self { program: program.clone(), server: server.grpc })
    }

    /// Starts it with flags before the address and words behind it.
    pub(crate) fn start(&self, flags: &[&str], words: &[&str]) -> Program {
        let mut command = Command::new(&self.program);
        command.args(["-plaintext", "-emit-defaults"]).args(flags);
        Program::start(command.arg(self.server.to_string()).args(words))
    }

    /// Starts a call of ours with a request in JSON.
    pub(crate) fn call(&self, method: &str, request: &Value) -> Program {
        self.start(&["-d", &request.to_string()], &[&format!("headcount.v1.{method}")])
    }

    /// The answer to a call that must succeed.
    pub(crate) async fn ask(&self, method: &str, request: &Value) -> Value {
        let ended = self.call(method, request).end().await.expect_exit(0);
        serde_json::from_str(&ended.out).unwrap()
    }

    /// What a call that must fail says. grpcurl's exit code is 64 more than
    /// gRPC's.
    pub(crate) async fn refused(&self, method: &str, request: &Value) -> Ended {
        let ended = self.call(method, request).end().await;
        assert!(ended.code.is_some_and(|code| code > 64), "{ended}");
        ended
    }

    /// The messages of a stream so far; the last may be unfinished.
    pub(crate) fn messages(out: &str) -> impl Iterator<Item = Value> {
        serde_json::Deserializer::from_str(out).into_iter().map_while(Result::ok)
    }
}
