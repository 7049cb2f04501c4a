//! A server whose standard error is a pipe that nobody reads, as after a failure of a log collector.

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    process::Stdio,
    thread,
};

use serde_json::Value;
use tokio::{process::Child, time::timeout};

use crate::support::{DEADLINE, Program, Site, get, headcount, retry};

/// A running server, and the read end of its standard error.
struct Unread {
    child: Child,
    log: io::PipeReader,
    grpc: SocketAddr,
    http: SocketAddr,
    _site: Site,
}

impl Unread {
    /// Starts a server that logs every step, and makes requests until the pipe and the queue are full.
    async fn start() -> Self {
        let site = Site::new();
        let (any, addresses) = (site.any_port(), site.path("addresses.json"));
        let (log, writer) = io::pipe().unwrap();
        let serve = format!(
            "serve --log trace --grpc-addr {any} --http-addr {any} --kube-api-addr {any} --addresses-file {}",
            addresses.display()
        );
        let mut command = headcount(&serve);
        let child = command.stderr(Stdio::from(writer)).stdout(Stdio::null()).kill_on_drop(true).spawn();
        // The command has a copy of the write end, which would keep the pipe open.
        drop(command);
        let text = retry("the addresses", async || fs::read(&addresses).ok()).await;
        let text: Value = serde_json::from_slice(&text).unwrap();
        let address = |of: &str| text[of].as_str().unwrap().parse().unwrap();
        let (grpc, http) = (address("grpc"), address("http"));
        let server = Self { child: child.unwrap(), log, grpc, http, _site: site };
        retry("the server drops log lines", async || {
            server.get_workloads().await;
            server.has_dropped_lines().await.then_some(())
        })
        .await;
        server
    }

    async fn get_workloads(&self) {
        Program::start(&mut headcount(&format!("get workloads --server {}", self.grpc)))
            .end()
            .await
            .expect_exit(0);
    }

    async fn has_dropped_lines(&self) -> bool {
        let (_, metrics) = get(self.http, "/metrics").await.expect("a response");
        metrics
            .lines()
            .any(|line| line.starts_with("headcount_log_lines_dropped_total ") && !line.ends_with(" 0"))
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_does_not_stop_the_server_and_drops_are_reported() {
    let mut server = Unread::start().await;
    assert_eq!(get(server.http, "/readyz").await, Some((200, "ok\n".to_owned())));
    server.get_workloads().await;

    let reported = thread::spawn({
        let mut log = server.log;
        move || {
            let (mut seen, mut buffer) = (String::new(), [0; 8_192]);
            while !seen.contains("dropped log lines") {
                let read = log.read(&mut buffer).unwrap();
                assert!(read > 0, "the log ended without a report of dropped lines");
                seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            // The pipe stays open until here.
            drop(log);
        }
    });
    retry("the report", async || reported.is_finished().then_some(())).await;
    reported.join().unwrap();
    server.child.kill().await.unwrap();
}

#[tokio::test]
async fn a_log_that_nobody_reads_does_not_stop_the_drain() {
    let mut server = Unread::start().await;
    let id = rustix::process::Pid::from_raw(server.child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    let status = timeout(DEADLINE, server.child.wait()).await.expect("the server ends").unwrap();
    assert_eq!(status.code(), Some(0));
}
