//! kubectl, in all installed versions.

use std::{fs, path::PathBuf};

use tokio::process::Command;

use super::{Ended, Program, Server, headcount, peer};

/// A kubectl with the kubeconfig that `headcount kubeconfig` prints for one server.
pub(crate) struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    home: PathBuf,
    /// Minor version, such as 36 of 1.36.
    pub(crate) minor: u32,
}

impl Kubectl {
    /// Returns all installed versions, configured for the server's plain HTTP port.
    pub(crate) async fn all(server: &Server) -> Vec<Self> {
        Self::all_for(server, &format!("--kube-server http://{}", server.kube)).await
    }

    /// Returns all installed versions, configured by `headcount kubeconfig` with these arguments.
    pub(crate) async fn all_for(server: &Server, arguments: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for name in ["kubectl", "kubectl-1.20"] {
            if let Some(program) = peer(name) {
                all.push(Self::new(server, arguments, name, program).await);
            }
        }
        all
    }

    async fn new(server: &Server, arguments: &str, name: &str, program: PathBuf) -> Self {
        let printed =
            Program::start(&mut headcount(&format!("kubeconfig {arguments}"))).end().await.expect_exit(0);
        let config = server.site.file(&format!("{name}.config"), &printed.out);
        // kubectl caches discovery in its home directory; the cache of one server is wrong for another.
        let home = server.site.path(&format!("{name}.home"));
        fs::create_dir_all(&home).unwrap();
        let mut kubectl = Self { program, config, home, minor: 0 };
        let version = kubectl.run("version --client -o json").await.expect_exit(0);
        let version: serde_json::Value = serde_json::from_str(&version.out).unwrap();
        let minor = version["clientVersion"]["minor"].as_str().unwrap();
        kubectl.minor = minor.trim_end_matches('+').parse().unwrap();
        kubectl
    }

    /// Starts kubectl with arguments that are separated by blanks.
    pub(crate) fn start(&self, arguments: &str) -> Program {
        let mut command = Command::new(&self.program);
        command.args(arguments.split_whitespace()).env("KUBECONFIG", &self.config).env("HOME", &self.home);
        Program::start(command.env("EDITOR", "sed -i s/generation/regeneration/"))
    }

    /// Runs kubectl, and waits for its end.
    pub(crate) async fn run(&self, arguments: &str) -> Ended {
        self.start(arguments).end().await
    }

    /// Runs a command that must succeed, and splits what it prints into lines and words.
    pub(crate) async fn table(&self, arguments: &str) -> Vec<Vec<String>> {
        let ended = self.run(arguments).await.expect_exit(0);
        ended.out.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }
}
