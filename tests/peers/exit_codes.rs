//! The exit codes of commands, which scripts rely on.

use tokio::process::Command;

use crate::support::{Program, Proxy, Server, Signal, Site, dataplane, headcount, hello, ready};

async fn run(arguments: &str) -> crate::support::Ended {
    Program::start(&mut headcount(arguments)).end().await
}

#[tokio::test]
async fn success_is_0_and_not_found_or_timed_out_is_1() {
    let server = Server::start("").await;
    let _proxy =
        Proxy::open(server.connect().await, [hello(dataplane("default", "web", "web-1")), ready()]).await;
    server.run("wait workload web --healthy 1").await.expect_exit(0);
    for found in
        ["get workloads", "get workload web", "get dataplane web-1", "get events", "get workloads -n none"]
    {
        server.run(found).await.expect_exit(0);
    }
    let late = server.run("wait workload web --healthy 2 --timeout 50ms").await.expect_exit(1);
    assert!(late.err.contains("timed out after 50ms") && late.err.contains("1 healthy"), "{late}");
    assert_eq!(late.out, "");
    for (not_found, message) in [
        ("get workload api", "workload \"api\" not found in default namespace"),
        ("get dataplane api-1", "dataplane \"api-1\" not found"),
        ("get workload web -n shop", "not found in shop namespace"),
    ] {
        let ended = server.run(not_found).await.expect_exit(1);
        assert!(ended.err.contains(message), "{ended}");
        assert_eq!(ended.out, "");
    }
}

#[tokio::test]
async fn an_unreachable_server_is_2_and_the_message_has_a_remedy() {
    let unused = Site::new().free_port();
    for command in ["get workloads", "get workloads -w", "get events", "wait workload web --healthy 1"] {
        let ended = run(&format!("{command} --server {unused}")).await.expect_exit(2);
        for part in [&unused.to_string(), "connection refused", "headcount serve"] {
            assert!(ended.err.contains(part), "{part}: {ended}");
        }
        assert_eq!(ended.out, "");
    }
}

/// The likeliest mistake: the HTTP port instead of the gRPC port.
#[tokio::test]
async fn the_http_port_as_server_is_2_and_the_message_names_the_flag() {
    let server = Server::start("").await;
    let ended = run(&format!("get workloads --server {}", server.http)).await.expect_exit(2);
    assert!(ended.err.contains("check --server"), "{ended}");
}

#[tokio::test]
async fn a_wait_whose_server_does_not_return_is_2() {
    let server = Server::start("").await;
    let wait = server.client("wait workload web --healthy 1 --timeout 2s");
    server.wait_for_watchers(1).await;
    server.program.signal(Signal::KILL);
    wait.end().await.expect_exit(2);
}

#[tokio::test]
async fn ctrl_c_is_130() {
    let server = Server::start("").await;
    let watch = server.client("get workloads -w");
    watch.wait_for_stderr("No workloads found").await;
    let events = server.client("get events -w");
    let wait = server.client("wait workload web --healthy 1");
    server.wait_for_watchers(3).await;
    for following in [watch, events, wait] {
        following.signal(Signal::INT);
        let ended = following.end().await.expect_exit(130);
        assert!(!ended.err.contains("error"), "{ended}");
    }
    let load = server.client("simulate --proxies 3 --workloads 1 --duration 1m");
    server.run("wait workload sim-0 -n simulate --healthy 1").await.expect_exit(0);
    load.signal(Signal::INT);
    let ended = load.end().await.expect_exit(130);
    assert!(ended.out.contains("3 proxies of 1 workloads"), "{ended}");
    // Its sessions ended with a goodbye.
    server.run("get workload sim-0 -n simulate").await.expect_exit(1);
}

#[tokio::test]
async fn invalid_arguments_are_64() {
    for invalid in [
        "",
        "serve --no-such-flag",
        "get",
        "get pods",
        "wait workload",
        "wait workload web",
        "wait workload Web_1 --healthy 1",
        "agent",
        "agent --dataplane-file /nowhere/dp.yaml",
        "get workloads -o xml",
        "get workloads -l a=b=c",
        "simulate --proxies 0",
        "completions tcsh",
    ] {
        let ended = run(invalid).await.expect_exit(64);
        assert_eq!(ended.out, "", "{invalid}");
        assert_ne!(ended.err, "", "{invalid}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_2_and_the_message_names_the_flag() {
    let server = Server::start("").await;
    let (grpc, http, kube) = (server.grpc, server.http, server.kube);
    let free = server.site.any_port();
    for (flag, flags) in [
        ("--grpc-addr", format!("--grpc-addr {grpc} --http-addr {free} --kube-api-addr {free}")),
        ("--http-addr", format!("--grpc-addr {free} --http-addr {http} --kube-api-addr {free}")),
        ("--kube-api-addr", format!("--grpc-addr {free} --http-addr {free} --kube-api-addr {kube}")),
    ] {
        let ended = run(&format!("serve {flags}")).await.expect_exit(2);
        assert!(ended.err.contains(&format!("choose another address with {flag}")), "{ended}");
        assert!(ended.err.contains("in use"), "{ended}");
    }
}

#[tokio::test]
async fn an_unwritable_addresses_file_is_2_and_the_message_names_the_flag() {
    let any = Site::new().any_port();
    let flags = format!(
        "--grpc-addr {any} --http-addr {any} --kube-api-addr {any} --addresses-file /nowhere/addresses.json"
    );
    let ended = run(&format!("serve {flags}")).await.expect_exit(2);
    assert!(ended.err.contains("--addresses-file"), "{ended}");
}

/// Runs `headcount ... | head -1` in bash, and checks the exit codes of both.
#[tokio::test]
async fn a_closed_pipe_is_0() {
    let server = Server::start("").await;
    let _load = server.client("simulate --proxies 20 --workloads 20 --flaps 500 --duration 1m");
    server.run("wait workload sim-19 -n simulate --healthy 1").await.expect_exit(0);
    for arguments in
        ["get workloads -A", "get workloads -A -w", "get dataplanes -A -o yaml", "completions bash"]
    {
        let flags =
            if arguments.starts_with("get") { format!("--server {}", server.grpc) } else { String::new() };
        let line = format!(
            "{} {arguments} {flags} | head -1; echo ${{PIPESTATUS[@]}}",
            env!("CARGO_BIN_EXE_headcount")
        );
        let ended = Program::start(Command::new("bash").args(["-c", &line])).end().await.expect_exit(0);
        let lines: Vec<_> = ended.out.lines().collect();
        assert_eq!((lines.len(), lines.last()), (2, Some(&"0 0")), "{ended}");
        assert_eq!(ended.err, "", "{arguments}");
    }
}
