//! A benchmark starts its own program again, in a role: what is measured has a
//! process of its own, and a fresh one each time.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};

/// A process in a role. Ends when dropped, and with the process that started it.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, and waits for what it announces.
    pub(crate) fn start<T: DeserializeOwned>(role: &impl Serialize) -> anyhow::Result<(Self, T)> {
        let role = &serde_json::to_string(role)?;
        let child = Command::new(env::current_exe()?)
            .args(["--role", role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {role}"))?;
        let mut process = Self(child);
        let stdout = process.0.stdout.take().context("it has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let announced =
            serde_json::from_str(&line).with_context(|| format!("{role} ended before it was ready"))?;
        Ok((process, announced))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}

/// In a role: says that it is ready.
pub(crate) fn announce(what: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, what)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

/// In a role: returns when the process that started it is gone.
pub(crate) fn until_parent_goes() {
    let _end = io::stdin().lock().read_to_end(&mut Vec::new());
}
