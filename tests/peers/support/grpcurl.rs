//! grpcurl, which gets all descriptors from the server by reflection.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::Value;
use tokio::process::Command;

use super::{Ended, Program, Server, peer};

/// A grpcurl program and the server that it calls.
pub(crate) struct Grpcurl {
    program: PathBuf,
    server: SocketAddr,
}

impl Grpcurl {
    /// Looks up the program; none if it is missing.
    pub(crate) fn find() -> Option<impl Fn(&Server) -> Self> {
        let program = peer("grpcurl")?;
        Some(move |server: &Server| Self { program: program.clone(), server: server.grpc })
    }

    /// Starts grpcurl with flags before the address and arguments after it.
    pub(crate) fn start(&self, flags: &[&str], arguments: &[&str]) -> Program {
        let mut command = Command::new(&self.program);
        command.args(["-plaintext", "-emit-defaults"]).args(flags);
        Program::start(command.arg(self.server.to_string()).args(arguments))
    }

    /// Starts a call of a headcount method, such as `WorkloadService/GetWorkload`, with a JSON request.
    pub(crate) fn call(&self, method: &str, request: &Value) -> Program {
        self.start(&["-d", &request.to_string()], &[&format!("headcount.v1.{method}")])
    }

    /// Makes a call that must succeed, and returns the response.
    pub(crate) async fn response(&self, method: &str, request: &Value) -> Value {
        let ended = self.call(method, request).end().await.expect_exit(0);
        serde_json::from_str(&ended.out).unwrap()
    }

    /// Makes a call that must fail. grpcurl's exit code is the gRPC code plus 64.
    pub(crate) async fn error(&self, method: &str, request: &Value) -> Ended {
        let ended = self.call(method, request).end().await;
        assert!(ended.code.is_some_and(|code| code > 64), "{ended}");
        ended
    }

    /// Parses the response messages so far; the last one may be incomplete.
    pub(crate) fn messages(out: &str) -> impl Iterator<Item = Value> {
        serde_json::Deserializer::from_str(out).into_iter().map_while(Result::ok)
    }
}
