//! An Envoy process and its admin interface.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
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

    /// Starts an Envoy that has an identifier for hot restarts, which it chooses.
    pub(crate) fn start_hot_restartable(binary: &Path, bootstrap: PathBuf, admin: SocketAddr) -> Self {
        let mut command = command(binary, &bootstrap);
        command.arg("--use-dynamic-base-id").arg("--base-id-path").arg(base_id_path(&bootstrap));
        let process = Program::start(&mut command);
        Self { binary: binary.to_owned(), bootstrap, process, admin: Admin(admin) }
    }

    /// Starts the child of a hot restart, which takes over the admin interface. This Envoy, the parent,
    /// ends after `parent_shutdown`.
    pub(crate) async fn hot_restart(&self, parent_shutdown: Duration) -> Self {
        let base_id = retry("the identifier for hot restarts", async || {
            fs::read_to_string(base_id_path(&self.bootstrap)).ok().filter(|id| !id.is_empty())
        });
        let mut command = command(&self.binary, &self.bootstrap);
        let parent_shutdown = parent_shutdown.as_secs().to_string();
        command.args(["--base-id", base_id.await.trim(), "--restart-epoch", "1", "--drain-time-s", "1"]);
        let process = Program::start(command.args(["--parent-shutdown-time-s", &parent_shutdown]));
        let (binary, bootstrap) = (self.binary.clone(), self.bootstrap.clone());
        Self { binary, bootstrap, process, admin: Admin(self.admin.0) }
    }

    /// Waits for the end of the process.
    pub(crate) async fn end(self) -> Ended {
        self.process.end().await
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
    Program::start(command(binary, bootstrap).arg("--disable-hot-restart"))
}

fn command(binary: &Path, bootstrap: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(["--concurrency", "1", "-c"]).arg(bootstrap);
    command
}

/// The file in which an Envoy stores its identifier for hot restarts.
fn base_id_path(bootstrap: &Path) -> PathBuf {
    bootstrap.with_extension("base-id")
}
