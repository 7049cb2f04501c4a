//! Child processes: a benchmark starts its own executable in a role, so that what is measured has a fresh
//! process of its own.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use serde::{Serialize, de::DeserializeOwned};

/// A child process. It is killed when dropped, and exits when its parent does.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts a child in a role, and waits for what it announces.
    pub(crate) fn start<T: DeserializeOwned>(role: &impl Serialize) -> anyhow::Result<(Self, T)> {
        let role = &serde_json::to_string(role)?;
        let child = Command::new(env::current_exe()?)
            .args(["--role", role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {role}"))?;
        let mut process = Self(child);
        let stdout = process.0.stdout.take().context("the child has no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let announced =
            serde_json::from_str(&line).with_context(|| format!("{role} exited before it was ready"))?;
        Ok((process, announced))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited already.
        let _exited = self.0.kill();
        let _status = self.0.wait();
    }
}

/// Called by a child: sends its parent a value, when it is ready.
pub(crate) fn announce(what: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, what)?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

/// Called by a child: returns when its parent has exited.
pub(crate) fn wait_for_parent_exit() {
    let _end = io::stdin().lock().read_to_end(&mut Vec::new());
}
