//! Machine-readable output of commands, and the result of `headcount simulate`.

use serde_json::Value;

use crate::support::{Proxy, Server, Signal, dataplane, hello, ready};

#[tokio::test]
async fn simulate_converges_and_prints_a_json_report() {
    let server = Server::start("").await;
    let load = server.run(
        "simulate --proxies 200 --workloads 10 --connections 4 --flaps 400 --duration 1s -o json --settle-timeout 20s",
    );
    let load = load.await.expect_exit(0);
    let report: Value = serde_json::from_str(&load.out).unwrap();
    let is = |key: &str, value: Value| assert_eq!(report[key], value, "{key}: {report}");
    is("right", true.into());
    is("lost", 0.into());
    is("proxies", 200.into());
    is("workloads", 10.into());
    is("connections", 4.into());
    is("firstLoss", Value::Null);
    // One ack for the first report of each session, and one for at least one flap.
    assert!(report["acks"].as_u64().unwrap() > 200, "{report}");
    assert!(report["flaps"].as_u64().unwrap() > 0, "{report}");
    is("retries", 0.into());
    // Without a terminal there is no bar, but lines of the log.
    for phase in ["connecting", "leaving"] {
        assert!(load.err.contains(&format!("INFO {phase} done=")), "{phase}: {load}");
    }
    let left = server.run("get dataplanes -A").await.expect_exit(0);
    assert_eq!(left.out, "", "all sessions ended with a goodbye: {left}");
}

#[tokio::test]
async fn simulate_prints_a_summary_and_its_verdict() {
    let server = Server::start("").await;
    let load =
        server.run("simulate --proxies 5 --workloads 2 --flaps 0 --duration 10ms").await.expect_exit(0);
    assert!(load.out.starts_with("5 proxies of 2 workloads over 1 connections\n"), "{load}");
    assert!(load.out.lines().last().unwrap().ends_with(" right"), "{load}");
}

/// Proxies that the server rejects return after the delay that it requests, and are not lost.
#[tokio::test]
async fn simulate_obeys_the_server_s_session_rate() {
    let server = Server::start("--max-session-rate 100").await;
    let flags = "--proxies 300 --workloads 3 --connect-rate 100000 --flaps 50 --duration 100ms -o json";
    let load = server.run(&format!("simulate {flags}")).await.expect_exit(0);
    let report: Value = serde_json::from_str(&load.out).unwrap();
    assert_eq!((&report["right"], &report["lost"]), (&true.into(), &0.into()), "{report}");
    assert!(report["retries"].as_u64().unwrap() > 0, "{report}");
    assert!(report["firstRetry"].as_str().unwrap().starts_with("ResourceExhausted: "), "{report}");
}

/// Sessions that a restarted server has drained are opened again, and are not lost.
#[tokio::test]
async fn simulate_reconnects_to_a_restarted_server() {
    let mut server = Server::start("").await;
    let load = server.client("simulate --proxies 20 --workloads 1 --duration 1s -o json");
    server.wait_for_counts("sim-0", [20, 20, 20]).await;
    server.restart(Signal::TERM).await.expect_exit(0);
    let load = load.end().await.expect_exit(0);
    let report: Value = serde_json::from_str(&load.out).unwrap();
    assert_eq!((&report["right"], &report["lost"]), (&true.into(), &0.into()), "{report}");
    assert_eq!(report["drained"], 20, "{report}");
}

/// The exit code is 1, as documented: the counts never converged.
#[tokio::test]
async fn simulate_without_a_server_fails() {
    let unused = crate::support::Site::new().free_port();
    let flags =
        format!("--proxies 2 --workloads 1 --duration 10ms --settle-timeout 200ms -o json --server {unused}");
    let load = crate::support::headcount(&format!("simulate {flags}"));
    let load = crate::support::Program::start(&mut { load }).end().await.expect_exit(1);
    let report: Value = serde_json::from_str(&load.out).unwrap();
    assert_eq!((&report["right"], &report["connectSeconds"]), (&false.into(), &Value::Null), "{report}");
}

#[tokio::test]
async fn lists_and_watches_are_valid_json() {
    let server = Server::start("").await;
    let messages = |name: &str| [hello(dataplane("default", "web", name)), ready()];
    let _one = Proxy::open(server.connect().await, messages("web-1")).await;
    server.wait_for_counts("web", [1, 1, 1]).await;
    let list: Value =
        serde_json::from_str(&server.run("get workloads -o json").await.expect_exit(0).out).unwrap();
    assert_eq!((&list["kind"], &list["items"][0]["kind"]), (&"List".into(), &"Workload".into()));

    let watch = server.client("get workloads -w -o json");
    let types = |out: &str| -> Option<Vec<String>> {
        let lines = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|change| Some(change["type"].as_str()?.to_owned())).collect()
    };
    watch.wait_for_stdout("the initial state", |out| (types(out)? == ["ADDED"]).then_some(())).await;
    let two = Proxy::open(server.connect().await, messages("web-2")).await;
    watch.wait_for_stdout("a change", |out| (types(out)?.last()? == "MODIFIED").then_some(())).await;
    drop(two);
}
