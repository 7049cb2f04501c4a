//! Commands whose standard output or standard error can't be written.

use std::{fs::File, io, process::Stdio};

use tokio::{process::Command, time::timeout};

use crate::support::{DEADLINE, Proxy, Server, Signal, Site, dataplane, gateway, headcount, hello, ready};

/// An output that fails.
#[derive(Debug, Clone, Copy)]
enum Broken {
    /// A full disk.
    Full,
    /// A pipe whose reader is gone.
    Pipe,
    /// The descriptor was closed before the program started.
    Closed,
}

const ALL: [Broken; 3] = [Broken::Full, Broken::Pipe, Broken::Closed];

impl Broken {
    fn open(self) -> Stdio {
        match self {
            Self::Full => File::options().write(true).open("/dev/full").unwrap().into(),
            Self::Pipe => io::pipe().unwrap().1.into(),
            // The shell closes it.
            Self::Closed => Stdio::null(),
        }
    }

    /// Runs `command` with this as its standard output (1) or standard error (2).
    fn wrap(self, command: &Command, descriptor: u8) -> Command {
        let mut shell = Command::new("sh");
        let close = if matches!(self, Self::Closed) { format!(" {descriptor}>&-") } else { String::new() };
        shell.args(["-c", &format!("exec \"$@\"{close}"), "sh"]);
        shell.arg(command.as_std().get_program()).args(command.as_std().get_args());
        shell.env_remove("HEADCOUNT_PEERS").env_remove("HEADCOUNT_REQUIRE_PEERS");
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        if descriptor == 1 {
            shell.stdout(self.open())
        } else {
            shell.stderr(self.open())
        };
        shell
    }
}

async fn exit_code(mut command: Command) -> Option<i32> {
    let status = timeout(DEADLINE, command.status()).await;
    status.unwrap_or_else(|_| panic!("{command:?} did not end")).unwrap().code()
}

/// Text for people is lost, and nothing else changes. Results that can't be written are a failure,
/// unless their reader has closed the pipe.
#[tokio::test]
async fn commands_end_with_their_documented_exit_codes() {
    let server = Server::start("").await;
    let _proxy =
        Proxy::open(server.connect().await, [hello(dataplane("default", "web", "web-1")), ready()]).await;
    server.run("wait workload web --healthy 1").await.expect_exit(0);
    let file = server.site.file("dp.yaml", &gateway("default", "edge", "edge-1"));
    let (file, grpc, any) = (file.display(), server.grpc, server.site.any_port());
    for (prints, code, command) in [
        (true, 0, "--help".to_owned()),
        (true, 0, "--version".to_owned()),
        (true, 0, "help serve".to_owned()),
        (true, 0, "completions bash".to_owned()),
        (true, 0, "kubeconfig".to_owned()),
        (true, 0, format!("envoy bootstrap --dataplane-file {file}")),
        (true, 0, format!("get workloads --server {grpc}")),
        (true, 0, format!("get dataplanes --server {grpc}")),
        (false, 0, format!("get events --server {grpc}")),
        (false, 0, format!("get workloads -n empty --server {grpc}")),
        (false, 1, format!("get workload nothing --server {grpc}")),
        (true, 0, format!("wait workload web --healthy 1 --server {grpc}")),
        (false, 1, format!("wait workload web --healthy 2 --timeout 0s --server {grpc}")),
        (true, 0, format!("simulate --proxies 2 --workloads 1 --duration 10ms --server {grpc}")),
        (false, 2, format!("get workloads --server {any}")),
        (false, 2, format!("serve --grpc-addr {grpc} --http-addr {any} --kube-api-addr off")),
        (false, 64, String::new()),
        (false, 64, "agent".to_owned()),
        (false, 64, "serve --log-format json --no-such-flag".to_owned()),
        (false, 64, "serve --max-sessions none".to_owned()),
    ] {
        for broken in ALL {
            let command = headcount(&command);
            let of_err = exit_code(broken.wrap(&command, 2)).await;
            assert_eq!(of_err, Some(code), "standard error: {broken:?}: {command:?}");
            let expected = if prints && matches!(broken, Broken::Full) { 2 } else { code };
            let of_out = exit_code(broken.wrap(&command, 1)).await;
            assert_eq!(of_out, Some(expected), "standard output: {broken:?}: {command:?}");
        }
    }
    // A watch has a reader as long as it runs.
    for (broken, code) in [(Broken::Full, 2), (Broken::Pipe, 0)] {
        let watch = headcount(&format!("get workloads -w --server {grpc}"));
        assert_eq!(exit_code(broken.wrap(&watch, 1)).await, Some(code), "{broken:?}");
    }
}

/// A server and an agent go on, and shut down gracefully.
#[tokio::test]
async fn a_server_and_an_agent_do_not_depend_on_their_outputs() {
    for broken in ALL {
        for descriptor in [1, 2] {
            let site = Site::new();
            let (grpc, http) = (site.free_port(), site.any_port());
            let file = site.file("dp.yaml", &gateway("default", "edge", "edge-1"));
            let serve = headcount(&format!(
                "serve --demo --grpc-addr {grpc} --http-addr {http} --kube-api-addr off --log debug"
            ));
            let agent =
                headcount(&format!("agent --server {grpc} --log debug --dataplane-file {}", file.display()));
            let mut server = broken.wrap(&serve, descriptor).spawn().unwrap();
            let mut agent = broken.wrap(&agent, descriptor).spawn().unwrap();
            let wait = headcount(&format!("wait workload edge --healthy 1 --server {grpc}"));
            crate::support::retry("the agent's session", async || {
                (exit_code(Broken::Closed.wrap(&wait, 2)).await == Some(0)).then_some(())
            })
            .await;
            for child in [&mut agent, &mut server] {
                let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
                rustix::process::kill_process(pid, Signal::TERM).unwrap();
                let status = timeout(DEADLINE, child.wait()).await.unwrap().unwrap();
                assert_eq!(status.code(), Some(0), "{broken:?} {descriptor}");
            }
        }
    }
}
