//! A server whose disk does not respond: no sync of a file ends.

use std::{
    fs,
    process::Command as StdCommand,
    time::{Duration, Instant},
};

use headcount::proto::Hello;
use tokio::process::Command;

use crate::{
    session::Session,
    support::{Ended, Program, Server, Signal, dataplane, get, retry},
};

/// How long a sync takes: longer than the test.
const HANGS: &str = "inject=fsync,fdatasync:delay_enter=600s";
/// The bounds of the last batch and of the work that can't be cancelled, and a margin.
const STOP: Duration = Duration::from_secs(5 + 1 + 4);
/// Less than the bound of the last batch.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A server with a registration that it can't store.
struct Hanging {
    server: Server,
    _session: Session,
    /// Delays the system calls of the server.
    strace: Program,
}

impl Hanging {
    /// If system calls can't be delayed, prints why and returns none; the test should return then.
    async fn start() -> Option<Self> {
        let possible = StdCommand::new("strace").args(["-f", "-e", HANGS, "true"]).output();
        if !possible.is_ok_and(|run| run.status.success()) {
            println!("SKIPPED: strace can't delay system calls here");
            return None;
        }
        let server = Server::start_durable("--drain-timeout 2s").await;
        let mut strace = Command::new("strace");
        let traced = server.program.id().to_string();
        strace.args(["-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", HANGS, "-p", &traced]);
        let strace = Program::start(&mut strace);
        strace.wait_for_stderr("attached").await;
        let hello = Hello { dataplane: Some(dataplane("default", "web", "web-1")), ..Hello::default() };
        let session = Session::open(server.connect().await, hello).await.expect("a session");
        server.program.wait_for_stderr("can't be stored").await;
        Some(Self { server, _session: session, strace })
    }

    /// Waits for the end of the process, and returns what it has logged and when it ended.
    async fn end(self) -> (Ended, Duration) {
        let (start, status) = (Instant::now(), format!("/proc/{}/status", self.server.program.id()));
        // The process has exited. Only strace keeps it from being gone.
        retry("the exit of the process", async || {
            let status = fs::read_to_string(&status).expect("a process that is not gone");
            status.contains("State:\tZ").then_some(())
        })
        .await;
        let after = start.elapsed();
        drop(self.strace);
        (self.server.program.end().await.expect_exit(0), after)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_shows_that_its_disk_hangs_and_stops_in_time() {
    let Some(hanging) = Hanging::start().await else { return };
    let server = &hanging.server;
    assert_eq!(server.metric("headcount_store_failing").await, Some(1));
    let (status, checks) = get(server.http, "/readyz?verbose").await.expect("a response");
    assert_eq!(status, 200);
    assert!(checks.contains("the disk has not responded for 5s"), "{checks}");
    server.program.signal(Signal::TERM);
    let (ended, after) = hanging.end().await;
    assert!(after < STOP, "{after:?}: {ended}");
    assert_eq!(ended.err.matches("can't be stored").count(), 1, "{ended}");
    assert!(ended.err.contains("the last changes of registrations are not stored"), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_server_whose_disk_hangs() {
    let Some(hanging) = Hanging::start().await else { return };
    let program = &hanging.server.program;
    program.signal(Signal::TERM);
    program.wait_for_stderr("draining").await;
    program.signal(Signal::TERM);
    let (ended, after) = hanging.end().await;
    assert!(after < AT_ONCE, "{after:?}: {ended}");
    assert!(ended.err.contains("a second signal: ending at once"), "{ended}");
}
