//! The configuration sources of the real binary: flags, environment variables, file.

use std::fs;

use serde_json::Value;

use crate::support::{Program, Server, Signal, Site, get, headcount};

#[tokio::test]
async fn the_problems_of_all_three_sources_are_reported_together() {
    let site = Site::new();
    let file = site.file("headcount.yaml", "maxSessions: none\nretentoin: 1h\nlog: [info]\n");
    let flags = format!("serve --config {} --grpc-addr nowhere --max-inbounds 65", file.display());
    let mut command = headcount(&flags);
    command.env("HEADCOUNT_RETENTION", "soon").env("HEADCOUNT_HTTP_ADDR", "7101");
    let ended = Program::start(&mut command).end().await.expect_exit(64);
    let file = file.display();
    for part in [
        "7 problems".to_owned(),
        "--grpc-addr: \"nowhere\"".to_owned(),
        "--max-inbounds: \"65\"".to_owned(),
        "HEADCOUNT_RETENTION: \"soon\"".to_owned(),
        "HEADCOUNT_HTTP_ADDR: \"7101\"".to_owned(),
        format!("\"maxSessions\" in {file}: \"none\""),
        format!("\"retentoin\" in {file}: no flag has this key; did you mean retention?"),
        format!("\"log\" in {file}: takes one value, not a list"),
    ] {
        assert!(ended.err.contains(&part), "{part} is not in {ended}");
    }
    assert_eq!(ended.out, "");
}

#[tokio::test]
async fn a_server_is_configured_by_a_file_and_variables_alone() {
    let site = Site::new();
    let (any, addresses) = (site.any_port(), site.path("addresses.json"));
    let file = site.file(
        "headcount.yaml",
        &format!(
            "grpcAddr: \"{any}\"\nhttpAddr: nowhere\nkubeApiAddr: \"{any}\"\nlogFormat: json\ndemo: true\n"
        ),
    );
    let mut command = headcount("serve");
    command.env("HEADCOUNT_CONFIG", &file);
    // The variable takes precedence over the file.
    command.env("HEADCOUNT_HTTP_ADDR", any.to_string()).env("HEADCOUNT_ADDRESSES_FILE", &addresses);
    let server = Program::start(&mut command);
    server.wait_for_stderr("\"serving\"").await;
    let addresses: Value = serde_json::from_slice(&fs::read(addresses).unwrap()).unwrap();
    let mut keys: Vec<_> = addresses.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, ["grpc", "http", "kube"]);
    let address = |of: &str| -> std::net::SocketAddr { addresses[of].as_str().unwrap().parse().unwrap() };
    assert!(address("grpc").port() != 0 && address("grpc") != address("http"));
    assert_eq!(get(address("http"), "/livez").await, Some((200, "ok\n".to_owned())));

    // The demo that the file enables is running. A client gets the address from a variable or its file.
    let client = site.file("client.yaml", &format!("server: {}\noutput: yaml\n", address("grpc")));
    let mut command = headcount("wait workload web --healthy 1");
    let found = Program::start(command.env("HEADCOUNT_SERVER", address("grpc").to_string())).end().await;
    found.expect_exit(0);
    let get = format!("get workload web --config {}", client.display());
    let got = Program::start(&mut headcount(&get)).end().await.expect_exit(0);
    assert!(got.out.starts_with("apiVersion: kuma.io/v1alpha1\n"), "{got}");
    server.signal(Signal::TERM);
    let ended = server.end().await.expect_exit(0);
    for line in ended.err.lines() {
        let line: Result<Value, _> = serde_json::from_str(line);
        assert!(line.is_ok(), "every line of the log is JSON: {ended}");
    }
}

#[tokio::test]
async fn flags_take_precedence_over_variables_and_variables_over_the_file() {
    let server = Server::start("").await;
    let (right, wrong) = (server.grpc.to_string(), "http://127.0.0.1:1");
    let wrong_file = server.site.file("wrong.yaml", &format!("server: \"{wrong}\"\n"));
    let right_file = server.site.file("right.yaml", &format!("server: \"{right}\"\n"));
    for (flag, variable, file, code) in [
        (Some(&*right), Some(wrong), Some(&wrong_file), 0),
        (Some(wrong), Some(&*right), Some(&right_file), 2),
        (None, Some(&*right), Some(&wrong_file), 0),
        (None, Some(wrong), Some(&right_file), 2),
        (None, None, Some(&right_file), 0),
        (None, None, Some(&wrong_file), 2),
    ] {
        let mut command = headcount("get workloads");
        command.args(flag.iter().flat_map(|flag| ["--server", flag]));
        command.envs(variable.map(|value| ("HEADCOUNT_SERVER", value)));
        command.envs(file.map(|file| ("HEADCOUNT_CONFIG", file)));
        Program::start(&mut command).end().await.expect_exit(code);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_reported() {
    for file in ["/nowhere/headcount.yaml", "/"] {
        let ended =
            Program::start(&mut headcount(&format!("serve --config {file}"))).end().await.expect_exit(64);
        assert!(ended.err.contains(&format!("cannot read {file}")), "{ended}");
    }
}
