//! A process, seen from outside: what it says, and how it ends.

use std::{
    fmt,
    fs::File,
    io::{BufRead as _, BufReader},
    os::fd::OwnedFd,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use super::DEADLINE;

/// The real binary, with words as a shell would split them.
pub(crate) fn headcount(words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    command.args(words.split_whitespace());
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HEADCOUNT_"))
    {
        command.env_remove(name);
    }
    command
}

/// A process that runs. It is killed when this is dropped.
pub(crate) struct Program {
    name: String,
    child: Child,
    said: watch::Receiver<Said>,
}

/// What it said so far.
#[derive(Debug, Default)]
struct Said {
    out: String,
    err: String,
}

/// How a process ended, and all that it said.
pub(crate) struct Ended {
    name: String,
    /// None if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    /// From the wait for its end to its end.
    pub(crate) after: Duration,
}

impl Program {
    /// Starts a command whose input, unless it has one, is empty.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = format!("{:?}", command.as_std());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let (say, said) = watch::channel(Said::default());
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        hear(out.into_owned_fd().unwrap(), say.clone(), |said| &mut said.out);
        hear(err.into_owned_fd().unwrap(), say, |said| &mut said.err);
        Self { name, child, said }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("a process that runs")
    }

    /// Waits until standard error has a text.
    pub(crate) async fn wait_for_stderr(&self, text: &str) {
        self.wait_for_stderr_matching(text, |err| err.contains(text)).await;
    }

    /// Waits until standard error is as it should be.
    pub(crate) async fn wait_for_stderr_matching(&self, what: &str, is_right: impl Fn(&str) -> bool) {
        self.until(what, |said| is_right(&said.err).then_some(())).await;
    }

    /// Waits until something can be found in standard output.
    pub(crate) async fn wait_for_stdout<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.until(what, |said| find(&said.out)).await
    }

    async fn until<T>(&self, what: &str, find: impl Fn(&Said) -> Option<T>) -> T {
        let mut said = self.said.clone();
        let search = async {
            loop {
                let found = find(&said.borrow_and_update());
                if found.is_some() || said.changed().await.is_err() {
                    return found.or_else(|| find(&said.borrow()));
                }
            }
        };
        let found = timeout(DEADLINE, search).await;
        let found = found.unwrap_or_else(|late| panic!("{} did not say this, {late}: {what}", self.name));
        found.unwrap_or_else(|| panic!("{} ended without this: {what}", self.name))
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        let start = Instant::now();
        let ended = timeout(DEADLINE, self.child.wait()).await;
        let status =
            ended.unwrap_or_else(|_| panic!("{} did not end within {DEADLINE:?}", self.name)).unwrap();
        let after = start.elapsed();
        let all = timeout(DEADLINE, async { while self.said.changed().await.is_ok() {} });
        all.await.unwrap_or_else(|_| panic!("{} ended, and yet its output is open", self.name));
        let said = self.said.borrow();
        let (name, out, err) = (self.name.clone(), said.out.clone(), said.err.clone());
        Ended { name, code: status.code(), out, err, after }
    }
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn expect_exit(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, code, out, err, .. } = self;
        write!(f, "{name} ended with {code:?}\n--- stdout\n{out}\n--- stderr\n{err}\n---")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if thread::panicking() {
            let said = self.said.borrow();
            println!("{} said\n--- stdout\n{}\n--- stderr\n{}\n---", self.name, said.out, said.err);
        }
    }
}

/// Reads a pipe to its end, line by line, in a thread: also while the test does
/// something else, and has an end when nobody has the pipe's other side.
fn hear(pipe: OwnedFd, say: watch::Sender<Said>, place: fn(&mut Said) -> &mut String) {
    thread::spawn(move || {
        let (mut pipe, mut line) = (BufReader::new(File::from(pipe)), Vec::new());
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            say.send_modify(|said| place(said).push_str(&String::from_utf8_lossy(&line)));
            line.clear();
        }
    });
}
