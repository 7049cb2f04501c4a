//! A server that a test starts with its own address or command.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tokio::process::Command;

use crate::support::{Program, Site, headcount};

/// A running server; killed on drop.
pub(crate) struct CustomServer {
    pub(crate) program: Program,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    _site: Site,
}

impl CustomServer {
    /// Starts a server on `address`, by default one of the site. `wrap` may change its command.
    pub(crate) async fn start(address: Option<SocketAddr>, wrap: impl FnOnce(Command) -> Command) -> Self {
        let site = Site::new();
        let (address, file) = (address.unwrap_or(site.any_port()), site.path("addresses.json"));
        let serve = format!(
            "serve --grpc-addr {address} --http-addr {address} --kube-api-addr off --insecure-allow-anonymous \
             --addresses-file {}",
            file.display()
        );
        let program = Program::start(&mut wrap(headcount(&serve)));
        program.wait_for_stderr("serving").await;
        let addresses: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let address = |of: &str| addresses[of].as_str().unwrap().parse().unwrap();
        Self { program, grpc: address("grpc"), http: address("http"), _site: site }
    }
}

/// Wraps a command so that it runs with a limit of file descriptors.
pub(crate) fn with_descriptors(count: u32, command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--nofile={count}"))
        .arg(command.as_std().get_program())
        .args(command.as_std().get_args());
    limited
}
