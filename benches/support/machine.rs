//! The machine, date and commit of a run.

use std::{fmt, fs, process::Command, thread, time::SystemTime};

use serde::Serialize;

/// What the figures depend on. Uncommitted changes elsewhere are ignored, for example those that an
/// earlier benchmark has just written into its table.
const SOURCES: [&str; 6] = ["src", "benches", "proto", "build.rs", "Cargo.toml", "Cargo.lock"];

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    date: String,
    commit: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    rustc: String,
}

impl Machine {
    /// Describes this machine; what cannot be determined is "unknown".
    pub(crate) fn now() -> Self {
        Self {
            date: today(),
            commit: commit(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory_gib(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |kernel| kernel.trim().to_owned()),
            rustc: output_of("rustc", &["--version"]).unwrap_or_else(unknown),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, commit, cores, memory_gib, kernel, rustc } = self;
        write!(
            f,
            "{date}, commit {commit}; {cores} cores, {memory_gib} GiB of memory, Linux {kernel}, {rustc}"
        )
    }
}

fn today() -> String {
    let now = prost_types::Timestamp::from(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn commit() -> String {
    let Some(commit) = output_of("git", &["rev-parse", "--short=10", "HEAD"]) else {
        return unknown();
    };
    let status = [&["status", "--porcelain", "--"], &SOURCES[..]].concat();
    match output_of("git", &status).as_deref() {
        Some("") => commit,
        _ => format!("{commit} with changes"),
    }
}

fn memory_gib() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = info
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.unwrap_or_default() / (1024 * 1024)
}

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
