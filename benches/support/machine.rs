//! Where, when and of what the figures were made.

use std::{fmt, fs, process::Command, thread, time::SystemTime};

use serde::Serialize;

/// What the figures depend on. A change elsewhere, such as in the tables that
/// the benchmark before has just written, does not count as a change.
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
    /// This one, now. What can't be found out is called unknown.
    pub(crate) fn now() -> Self {
        Self {
            date: today(),
            commit: commit(),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_gib: memory_gib(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |kernel| kernel.trim().to_owned()),
            rustc: said("rustc", &["--version"]).unwrap_or_else(unknown),
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
    let Some(commit) = said("git", &["rev-parse", "--short=10", "HEAD"]) else {
        return unknown();
    };
    let status = [&["status", "--porcelain", "--"], &SOURCES[..]].concat();
    match said("git", &status).as_deref() {
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

fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
