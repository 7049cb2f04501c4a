//! An Envoy: a process, and its admin interface.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{
    admin::Admin,
    support::{Ended, Program, Signal, peer, retry},
};

/// Where the program is; see [`peer`].
pub(crate) fn find() -> Option<PathBuf> {
    peer("envoy")
}

/// It is killed when this is dropped.
pub(crate) struct Envoy {
    program: PathBuf,
    bootstrap: PathBuf,
    running: Program,
    pub(crate) admin: Admin,
}

impl Envoy {
    /// Starts one by its bootstrap, which has this admin address.
    pub(crate) fn start(program: &Path, bootstrap: PathBuf, admin: SocketAddr) -> Self {
        let running = run(program, &bootstrap);
        Self { program: program.to_owned(), bootstrap, running, admin: Admin(admin) }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits for its end, and starts it again as it was.
    pub(crate) async fn start_again(&mut self) {
        let next = Program::start(&mut Command::new("true"));
        let _killed: Ended = std::mem::replace(&mut self.running, next).end().await;
        self.running = run(&self.program, &self.bootstrap);
    }

    /// Waits until a counter is at least this.
    pub(crate) async fn counts(&self, name: &str, least: u64) {
        retry(&format!("{name} is {least}"), async || {
            self.admin.counter(name).await.filter(|count| *count >= least)
        })
        .await;
    }
}

/// Alone on its host, as far as it knows: no shared memory for hot restarts.
fn run(program: &Path, bootstrap: &Path) -> Program {
    let mut command = Command::new(program);
    command.args(["--disable-hot-restart", "--concurrency", "1", "-c"]);
    Program::start(command.arg(bootstrap))
}
