//! The configuration sources of the real binary: flags, environment variables, file.

use std::fs;

use serde_json::Value;

use crate::support::{Application, Program, Server, Signal, Site, get, headcount};

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

/// The variables of an agent's container do not filter what `get` and `wait` read there, and an empty
/// one changes nothing.
#[tokio::test]
async fn an_agent_s_variables_do_not_filter_get_and_wait() {
    let server = Server::start("").await;
    let application = Application::start((server.grpc.ip(), 0).into());
    let inbound = application.address().port().to_string();
    let probe_host = application.address().ip().to_string();
    let mut agent = headcount(&format!("agent --server {} --probe-host {probe_host}", server.grpc));
    let variables = [("HEADCOUNT_MESH", "prod"), ("HEADCOUNT_WORKLOAD", "web"), ("HEADCOUNT_ZONE", "")];
    agent.envs(variables).env("POD_NAME", "web-0").env("POD_NAMESPACE", "default").env("POD_IP", "");
    agent.env("HEADCOUNT_INBOUND", inbound).env("HEADCOUNT_GATEWAY", "no").env("HEADCOUNT_LOG", "");
    agent.env("HEADCOUNT_PODINFO_DIR", server.site.path("podinfo"));
    let _agent = Program::start(&mut agent);
    server.wait_for_counts("web", [1, 1, 1]).await;
    let _other = server.agent("api-1", &crate::support::gateway("default", "api", "api-1"));
    server.wait_for_counts("api", [1, 1, 1]).await;
    for command in ["get workloads", "get dataplanes"] {
        let mut command = headcount(&format!("{command} --server {}", server.grpc));
        let listed = Program::start(command.envs(variables)).end().await.expect_exit(0);
        assert_eq!(listed.out.lines().count(), 3, "{listed}");
    }
    let mut wait = headcount(&format!("wait workload api --healthy 1 --timeout 1s --server {}", server.grpc));
    Program::start(wait.envs(variables)).end().await.expect_exit(0);
}

#[tokio::test]
async fn booleans_are_accepted_as_people_write_them() {
    let server = Server::start("").await;
    for (value, lists_all) in [("1", true), ("Yes", true), ("ON", true), ("0", false), ("off", false)] {
        let mut command = headcount(&format!("get workloads --server {}", server.grpc));
        command.env("HEADCOUNT_ALL_NAMESPACES", value);
        let listed = Program::start(&mut command).end().await.expect_exit(0);
        assert_eq!(!listed.err.contains("in default namespace"), lists_all, "{value}: {listed}");
    }
    let mut command = headcount("get workloads");
    let invalid = Program::start(command.env("HEADCOUNT_ALL_NAMESPACES", "si")).end().await.expect_exit(64);
    assert!(invalid.err.contains("HEADCOUNT_ALL_NAMESPACES: \"si\": must be true or false"), "{invalid}");
}

/// Every command reports the same with all its variables empty as without any.
#[tokio::test]
async fn empty_variables_count_as_not_set() {
    let help = Program::start(&mut headcount("agent --help")).end().await.expect_exit(0).out;
    let variables: Vec<_> =
        help.split("[env: ").skip(1).filter_map(|it| it.split(['=', ']']).next()).collect();
    assert!(variables.len() > 15, "{variables:?}");
    // The missing settings are reported.
    let unset = Program::start(&mut headcount("agent")).end().await.expect_exit(64);
    let mut empty = headcount("agent");
    let empty =
        Program::start(empty.envs(variables.into_iter().map(|it| (it, "")))).end().await.expect_exit(64);
    assert_eq!(empty.err, unset.err);
}

/// What is written to the stream of the log is JSON, the error that ends the process included.
#[tokio::test]
async fn with_the_format_json_errors_are_json_too() {
    let server = Server::start("").await;
    let (grpc, http) = (server.grpc, server.site.any_port());
    let file = server.site.file("json.yaml", "logFormat: json\nmaxSessions: none\nretentoin: 1h\n");
    let json = server.site.file("only.yaml", "logFormat: json\n");
    let (file, json) = (file.display(), json.display());
    let busy = format!("serve --grpc-addr {grpc} --http-addr {http} --kube-api-addr off");
    let nowhere = server.site.any_port();
    for (command, variable, code, message) in [
        (format!("{busy} --log-format json"), "", 2, "choose another address with --grpc-addr"),
        (busy.clone(), "json", 2, "choose another address with --grpc-addr"),
        (format!("{busy} --config {json} --log error"), "", 2, "choose another address with --grpc-addr"),
        (format!("serve --config {file}"), "", 64, "2 problems with the configuration"),
        ("serve --no-such-flag".to_owned(), "json", 64, "unexpected argument '--no-such-flag'"),
        ("agent --log-format=json".to_owned(), "", 64, "POD_NAME: is missing"),
        ("simulate --log-format json --proxies 0".to_owned(), "", 64, "--proxies"),
        (
            format!("simulate --server {nowhere} --proxies 1 --duration 1ms --settle-timeout 10ms"),
            "json",
            1,
            "",
        ),
    ] {
        let mut run = headcount(&command);
        let ended = Program::start(run.env("HEADCOUNT_LOG_FORMAT", variable)).end().await.expect_exit(code);
        let lines = ended.err.lines().map(serde_json::from_str::<Value>);
        let Ok(lines) = lines.collect::<Result<Vec<_>, _>>() else { panic!("not JSON: {ended}") };
        let last = lines.last().map(|line| line["fields"]["message"].as_str().unwrap()).unwrap_or_default();
        assert!(last.contains(message), "{message}: {ended}");
        if !message.is_empty() {
            assert_eq!(lines.last().unwrap()["level"], "ERROR", "{ended}");
        }
    }
}
