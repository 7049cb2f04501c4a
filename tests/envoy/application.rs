//! The application behind an Envoy: a web server in a process of its own, which
//! can be killed, stopped, and started again where it was.

use std::net::SocketAddr;

use tokio::process::Command;

use crate::support::{Program, Signal, Site};

/// The path that it answers with 200; it knows no other.
pub(crate) const HEALTHZ: &str = "/healthz";

/// It is killed when this is dropped.
pub(crate) struct Application {
    program: Program,
    pub(crate) address: SocketAddr,
    files: String,
}

impl Application {
    /// Python's, which comes with what Envoy is installed by.
    pub(crate) async fn start(site: &Site) -> Self {
        let address = site.free_port();
        let healthz = site.file(&HEALTHZ[1..], "ok\n");
        let files = healthz.parent().expect("a directory").display().to_string();
        let program = serve(address, &files).await;
        Self { program, address, files }
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Starts it again where it was, once it was killed.
    pub(crate) async fn start_again(&mut self) {
        self.program = serve(self.address, &self.files).await;
    }
}

async fn serve(address: SocketAddr, files: &str) -> Program {
    let mut command = Command::new("python3");
    command.args(["-u", "-m", "http.server", "--directory", files, "--bind"]);
    let program = Program::start(command.arg(address.ip().to_string()).arg(address.port().to_string()));
    program.wait_for_stdout("that it serves", |out| out.contains("Serving HTTP on").then_some(())).await;
    program
}
