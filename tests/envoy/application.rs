//! The application behind an Envoy: a web server in its own process, which a test can kill, stop, and start
//! again at the same address.

use std::net::SocketAddr;

use tokio::process::Command;

use crate::support::{Program, Signal, Site};

/// The only path that exists.
pub(crate) const HEALTHZ: &str = "/healthz";

/// A running application; killed on drop.
pub(crate) struct Application {
    program: Program,
    pub(crate) address: SocketAddr,
    files: String,
}

impl Application {
    /// Starts Python's web server: Envoy is installed with Python's package manager, so Python exists.
    pub(crate) async fn start(site: &Site) -> Self {
        let address = site.free_port();
        let healthz = site.file(&HEALTHZ[1..], "ok\n");
        let files = healthz.parent().expect("a directory").display().to_string();
        let program = serve(address, &files).await;
        Self { program, address, files }
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Starts a killed application again at the same address.
    pub(crate) async fn start_again(&mut self) {
        self.program = serve(self.address, &self.files).await;
    }
}

async fn serve(address: SocketAddr, files: &str) -> Program {
    let mut command = Command::new("python3");
    command.args(["-u", "-m", "http.server", "--directory", files, "--bind"]);
    let program = Program::start(command.arg(address.ip().to_string()).arg(address.port().to_string()));
    program.wait_for_stdout("the start message", |out| out.contains("Serving HTTP on").then_some(())).await;
    program
}
