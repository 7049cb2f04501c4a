//! One bash that runs the commands of a document, in a network namespace of its own.

use std::{env, fmt, fmt::Write as _, fs, os::unix::fs::symlink, path::Path, process::Stdio, time::Duration};

use tokio::{process, time::timeout};

use super::{
    ROOT,
    block::Command,
    rules::{How, Rule, setup},
};
use crate::support::{Site, copy_manifests, peer};

/// Longest time for all commands of one document.
const DEADLINE: Duration = Duration::from_mins(3);

/// Functions of the script. `reached` waits for a condition in the output of the last background job, which
/// runs until it is interrupted.
const FUNCTIONS: &str = r#"
set -m
ip link set lo up
step() { out="$STEPS/$1.out" err="$STEPS/$1.err" exit="$STEPS/$1.exit"; echo started >"$exit"; }
printed() { grep -qF -- "$1" "$out" "$err"; }
reached() {
    until eval "$1"; do
        kill -0 $! 2>/dev/null || { echo "ended before: $1" >"$exit"; return; }
        sleep 0.05
    done
    echo reached >"$exit"
}
interrupt() {
    kill -INT -- -$! 2>/dev/null
    wait $!
    echo "$(cat "$exit"), then $?" >"$exit"
}
"#;

/// The script of a document, and the directory in which it runs.
pub(super) struct Session {
    site: Site,
    script: String,
    steps: usize,
}

/// The result of a command.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its exit code; after `reached` if its condition was met.
    pub(super) exit: String,
    out: String,
    err: String,
}

impl Session {
    /// A session in which nothing has run yet; none if a program is missing.
    pub(super) fn new(document: &str) -> Option<Self> {
        for program in ["kubectl", "grpcurl", "envoy", "prometheus"] {
            peer(program)?;
        }
        let namespace = std::process::Command::new("unshare").args(UNSHARE).arg("true").output();
        if !namespace.is_ok_and(|ended| ended.status.success()) {
            let required = env::var("HEADCOUNT_REQUIRE_PEERS").is_ok_and(|value| value == "1");
            assert!(!required, "no network namespace can be made here");
            println!("SKIPPED: no network namespace can be made here");
            return None;
        }
        let site = Site::new();
        let home = site.path("");
        symlink(Path::new(ROOT).join("examples"), home.join("examples")).unwrap();
        fs::create_dir_all(home.join("target/release")).unwrap();
        symlink(env!("CARGO_BIN_EXE_headcount"), home.join("target/release/headcount")).unwrap();
        fs::create_dir(home.join("deploy")).unwrap();
        copy_manifests(&home.join("deploy/kubernetes"));
        fs::create_dir(home.join("steps")).unwrap();
        let setup = setup(document);
        Some(Self { site, script: format!("{FUNCTIONS}\nstep setup\n{setup}\n"), steps: 0 })
    }

    /// Adds a command.
    pub(super) fn add(&mut self, command: &Command, rule: Option<&Rule>) {
        let Self { script, steps, .. } = self;
        let text = match rule.map(|rule| rule.how) {
            Some(How::Instead { command, .. } | How::InsteadUntil { command, .. }) => command,
            _ => command.text.as_str(),
        };
        let mut add = |text: &str| writeln!(script, "{text}").unwrap();
        add(&format!("step {steps}"));
        add(rule.map(|rule| rule.before).unwrap_or_default());
        let background = format!("{{\n{text}\n}} >\"$out\" 2>\"$err\" &");
        match rule.map(|rule| rule.how) {
            Some(How::NotRun(_)) => {}
            Some(How::Until(condition) | How::InsteadUntil { condition, .. }) => {
                add(&background);
                add(&format!("reached {}; interrupt", quoted(condition)));
            }
            Some(How::Keep(condition)) => {
                add(&background);
                add(&format!("reached {}", quoted(condition)));
            }
            Some(How::ToItsEnd | How::Exit(_) | How::Instead { .. }) | None => {
                add(&format!("{{\n{text}\n}} >\"$out\" 2>\"$err\"\necho $? >\"$exit\""));
            }
        }
        add(rule.map(|rule| rule.after).unwrap_or_default());
        *steps += 1;
    }

    /// Runs the script, and returns the result of each command.
    pub(super) async fn run(self) -> Vec<Ended> {
        let Self { site, script, steps } = self;
        let script = site.file("session.sh", &script);
        let directory = site.path("");
        let mut path = vec![directory.join("target/release")];
        path.extend(env::var_os("HEADCOUNT_PEERS").map(Into::into));
        path.extend(env::split_paths(&env::var_os("PATH").unwrap()));
        let mut bash = process::Command::new("unshare");
        bash.args(UNSHARE).args(["bash", "--norc", "--noprofile"]).arg(script).current_dir(&directory);
        for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HEADCOUNT_"))
        {
            bash.env_remove(name);
        }
        bash.env("PATH", env::join_paths(path).unwrap()).env("HOME", &directory).env_remove("KUBECONFIG");
        bash.env("STEPS", directory.join("steps")).stdin(Stdio::null()).kill_on_drop(true);
        let ended = timeout(DEADLINE, bash.output()).await;
        let results: Vec<_> = (0..steps).map(|step| Ended::read(&directory.join("steps"), step)).collect();
        let Ok(ended) = ended else { panic!("not done after {DEADLINE:?}: {results:#?}") };
        let ended = ended.unwrap();
        assert_eq!(results.len(), steps);
        let noise = String::from_utf8_lossy(&ended.stderr);
        println!("{noise}");
        results
    }
}

/// All processes end with the first one.
const UNSHARE: [&str; 8] =
    ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

impl Ended {
    fn read(steps: &Path, step: usize) -> Self {
        let read = |kind: &str| {
            let bytes = fs::read(steps.join(format!("{step}.{kind}"))).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Self { exit: read("exit").trim().to_owned(), out: read("out"), err: read("err") }
    }

    /// Both outputs.
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { exit, out, err } = self;
        write!(f, "ended with {exit:?}\n--- stdout\n{out}\n--- stderr\n{err}\n---")
    }
}
