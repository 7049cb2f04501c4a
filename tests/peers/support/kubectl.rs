//! kubectl, in the versions there are.

use std::{fs, path::PathBuf};

use tokio::process::Command;

use super::{Ended, Program, Server, headcount, peer};

/// A kubectl that knows one server, by the kubeconfig that `headcount` prints.
pub(crate) struct Kubectl {
    program: PathBuf,
    config: PathBuf,
    home: PathBuf,
    /// Such as 36, of 1.36.
    pub(crate) minor: u32,
}

impl Kubectl {
    /// All that are not missing.
    pub(crate) async fn all(server: &Server) -> Vec<Self> {
        Self::all_for(server, &format!("--kube-server http://{}", server.kube)).await
    }

    /// All that are not missing, by what `headcount kubeconfig` prints for these words.
    pub(crate) async fn all_for(server: &Server, words: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for name in ["kubectl", "kubectl-1.20"] {
            if let Some(program) = peer(name) {
                all.push(Self::new(server, words, name, program).await);
            }
        }
        all
    }

    async fn new(server: &Server, words: &str, name: &str, program: PathBuf) -> Self {
        let printed =
            Program::start(&mut headcount(&format!("kubeconfig {words}"))).end().await.expect_exit(0);
        let config = server.site.file(&format!("{name}.config"), &printed.out);
        // What it keeps of one server is none of another's.
        let home = server.site.path(&format!("{name}.home"));
        fs::create_dir(&home).unwrap();
        let mut kubectl = Self { program, config, home, minor: 0 };
        let version = kubectl.run("version --client -o json").await.expect_exit(0);
        let version: serde_json::Value = serde_json::from_str(&version.out).unwrap();
        let minor = version["clientVersion"]["minor"].as_str().unwrap();
        kubectl.minor = minor.trim_end_matches('+').parse().unwrap();
        kubectl
    }

    /// Starts it with words as a shell would split them.
    pub(crate) fn start(&self, words: &str) -> Program {
        let mut command = Command::new(&self.program);
        command.args(words.split_whitespace()).env("KUBECONFIG", &self.config).env("HOME", &self.home);
        Program::start(command.env("EDITOR", "sed -i s/generation/regeneration/"))
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, words: &str) -> Ended {
        self.start(words).end().await
    }

    /// What it prints, a line a row and a word a cell; it must succeed.
    pub(crate) async fn table(&self, words: &str) -> Vec<Vec<String>> {
        let ended = self.run(words).await.expect_exit(0);
        ended.out.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    }
}
