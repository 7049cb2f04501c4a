//! A child process: its output and its exit.

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

/// A command of the real binary, with arguments that are separated by blanks and without variables of
/// headcount in its environment.
pub(crate) fn headcount(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    command.args(arguments.split_whitespace());
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HEADCOUNT_"))
    {
        command.env_remove(name);
    }
    command
}

/// Puts a program and its first arguments before a command. Without any, returns the command.
pub(crate) fn wrap(command: Command, wrapper: &[String]) -> Command {
    let [program, arguments @ ..] = wrapper else { return command };
    let mut whole = Command::new(program);
    whole.args(arguments).arg(command.as_std().get_program()).args(command.as_std().get_args());
    for (name, value) in command.as_std().get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    whole
}

/// A running process. Dropping it kills the process.
pub(crate) struct Program {
    name: String,
    child: Child,
    output: watch::Receiver<Output>,
}

/// The output so far.
#[derive(Debug, Default)]
struct Output {
    out: String,
    err: String,
}

/// An ended process, with all its output.
pub(crate) struct Ended {
    name: String,
    /// Exit code; none if a signal ended the process.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    /// Time from the call of [`Program::end`] to the exit.
    pub(crate) after: Duration,
}

impl Program {
    /// Starts a command and reads its output in the background.
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = format!("{:?}", command.as_std());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let (sender, output) = watch::channel(Output::default());
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        read_lines(out.into_owned_fd().unwrap(), sender.clone(), |output| &mut output.out);
        read_lines(err.into_owned_fd().unwrap(), sender, |output| &mut output.err);
        Self { name, child, output }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Returns the process ID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// Waits until standard error contains a text.
    pub(crate) async fn wait_for_stderr(&self, text: &str) {
        self.wait_for_stderr_matching(text, |err| err.contains(text)).await;
    }

    /// Waits until standard error matches a condition.
    pub(crate) async fn wait_for_stderr_matching(&self, what: &str, matches: impl Fn(&str) -> bool) {
        self.until(what, |output| matches(&output.err).then_some(())).await;
    }

    /// Waits until `find` returns a value for standard output.
    pub(crate) async fn wait_for_stdout<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.until(what, |output| find(&output.out)).await
    }

    async fn until<T>(&self, what: &str, find: impl Fn(&Output) -> Option<T>) -> T {
        let mut output = self.output.clone();
        let search = async {
            loop {
                let found = find(&output.borrow_and_update());
                if found.is_some() || output.changed().await.is_err() {
                    return found.or_else(|| find(&output.borrow()));
                }
            }
        };
        let found = timeout(DEADLINE, search).await;
        let found = found.unwrap_or_else(|late| panic!("{} did not print this, {late}: {what}", self.name));
        found.unwrap_or_else(|| panic!("{} ended without printing this: {what}", self.name))
    }

    /// Waits for the exit, without a deadline; returns the exit code.
    pub(crate) async fn exited(&mut self) -> Option<i32> {
        self.child.wait().await.unwrap().code()
    }

    /// Waits for the exit and for the end of the output.
    pub(crate) async fn end(mut self) -> Ended {
        let start = Instant::now();
        let ended = timeout(DEADLINE, self.child.wait()).await;
        let status =
            ended.unwrap_or_else(|_| panic!("{} did not end within {DEADLINE:?}", self.name)).unwrap();
        let after = start.elapsed();
        let all = timeout(DEADLINE, async { while self.output.changed().await.is_ok() {} });
        all.await.unwrap_or_else(|_| panic!("{} ended, but its output is still open", self.name));
        let output = self.output.borrow();
        let (name, out, err) = (self.name.clone(), output.out.clone(), output.err.clone());
        Ended { name, code: status.code(), out, err, after }
    }
}

impl Ended {
    /// Fails unless standard error contains all parts.
    #[track_caller]
    pub(crate) fn expect_stderr(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.err.contains(part), "{part}: {self}");
        }
        assert!(!self.err.contains("panicked"), "{self}");
    }

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
            let output = self.output.borrow();
            println!("{}\n--- stdout\n{}\n--- stderr\n{}\n---", self.name, output.out, output.err);
        }
    }
}

/// Reads a pipe line by line in a thread, until the write end is closed. A thread also reads while the
/// test blocks its runtime.
fn read_lines(pipe: OwnedFd, sender: watch::Sender<Output>, field: fn(&mut Output) -> &mut String) {
    thread::spawn(move || {
        let (mut pipe, mut line) = (BufReader::new(File::from(pipe)), Vec::new());
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            sender.send_modify(|output| field(output).push_str(&String::from_utf8_lossy(&line)));
            line.clear();
        }
    });
}
