//! An Envoy: a process, and its admin interface.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::support::{Ended, Program, Signal, ask, get, peer, retry};

/// Where the program is; see [`peer`].
pub(crate) fn find() -> Option<PathBuf> {
    peer("envoy")
}

/// It is killed when this is dropped.
pub(crate) struct Envoy {
    program: PathBuf,
    bootstrap: PathBuf,
    running: Program,
    pub(crate) admin: SocketAddr,
}

impl Envoy {
    /// Starts one by its bootstrap, which has this admin address.
    pub(crate) fn start(program: &Path, bootstrap: PathBuf, admin: SocketAddr) -> Self {
        let running = run(program, &bootstrap);
        Self { program: program.to_owned(), bootstrap, running, admin }
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

    /// Has its admin interface do something.
    pub(crate) async fn order(&self, path: &str) {
        let answer = ask("POST", self.admin, path).await;
        assert!(matches!(answer, Some((200, _))), "{path}: {answer:?}");
    }

    /// One of its counters; none while it does not answer, or has none of this
    /// name.
    pub(crate) async fn counter(&self, name: &str) -> Option<u64> {
        let (200, text) = get(self.admin, &format!("/stats?filter=^{name}$")).await? else { return None };
        text.trim().rsplit_once(": ")?.1.parse().ok()
    }

    /// Waits until a counter is at least this.
    pub(crate) async fn counts(&self, name: &str, least: u64) {
        retry(&format!("{name} is {least}"), async || {
            self.counter(name).await.filter(|count| *count >= least)
        })
        .await;
    }

    /// It runs, and says that it is ready.
    pub(crate) async fn is_alive(&self) -> bool {
        get(self.admin, "/ready").await == Some((200, "LIVE\n".to_owned()))
    }
}

/// Alone on its host, as far as it knows: no shared memory for hot restarts.
fn run(program: &Path, bootstrap: &Path) -> Program {
    let mut command = Command::new(program);
    command.args(["--disable-hot-restart", "--concurrency", "1", "-c"]);
    Program::start(command.arg(bootstrap))
}
