//! An Envoy process and its admin interface.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{
    admin::Admin,
    support::{Ended, Program, Signal, peer, retry},
};

/// Returns the path of the Envoy binary; see [`peer`].
pub(crate) fn find() -> Option<PathBuf> {
    peer("envoy")
}

/// A running Envoy; killed on drop.
pub(crate) struct Envoy {
    binary: PathBuf,
    bootstrap: PathBuf,
    process: Program,
    pub(crate) admin: Admin,
}

impl Envoy {
    /// Starts an Envoy. `admin` is the address of its admin interface in the bootstrap.
    pub(crate) fn start(binary: &Path, bootstrap: PathBuf, admin: SocketAddr) -> Self {
        let process = spawn(binary, &bootstrap);
        Self { binary: binary.to_owned(), bootstrap, process, admin: Admin(admin) }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits for the end of the process, and starts it again with the same bootstrap.
    pub(crate) async fn start_again(&mut self) {
        let placeholder = Program::start(&mut Command::new("true"));
        let _killed: Ended = std::mem::replace(&mut self.process, placeholder).end().await;
        self.process = spawn(&self.binary, &self.bootstrap);
    }

    /// Waits until a counter is at least `least`.
    pub(crate) async fn wait_for_counter(&self, name: &str, least: u64) {
        retry(&format!("{name} is at least {least}"), async || {
            self.admin.counter(name).await.filter(|count| *count >= least)
        })
        .await;
    }
}

/// Starts the process without hot restart, so that several Envoys can run on one host.
fn spawn(binary: &Path, bootstrap: &Path) -> Program {
    let mut command = Command::new(binary);
    command.args(["--disable-hot-restart", "--concurrency", "1", "-c"]);
    Program::start(command.arg(bootstrap))
}
