//! A server that is started in a way of the test's own.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tokio::process::Command;

use crate::support::{Program, Site, headcount};

/// It serves until this is dropped.
pub(crate) struct Served {
    pub(crate) program: Program,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
    _site: Site,
}

impl Served {
    /// On an address, if it is to be another than the site's own.
    pub(crate) async fn start(on: Option<SocketAddr>, wrap: impl FnOnce(Command) -> Command) -> Self {
        let site = Site::new();
        let (any, file) = (on.unwrap_or(site.any_port()), site.path("addresses.json"));
        let serve = format!(
            "serve --grpc-addr {any} --http-addr {any} --kube-api-addr off --addresses-file {}",
            file.display()
        );
        let program = Program::start(&mut wrap(headcount(&serve)));
        program.wait_for_stderr("serving").await;
        let addresses: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let address = |of: &str| addresses[of].as_str().unwrap().parse().unwrap();
        Self { program, grpc: address("grpc"), http: address("http"), _site: site }
    }
}

/// The same command with a limit of open files.
pub(crate) fn with_descriptors(count: u32, command: &Command) -> Command {
    let mut limited = Command::new("prlimit");
    limited
        .arg(format!("--nofile={count}"))
        .arg(command.as_std().get_program())
        .args(command.as_std().get_args());
    limited
}
