//! The example configuration and alerts for Prometheus, and the metrics, checked by promtool.

use std::{fs, path::PathBuf};

use tokio::process::Command;

use crate::support::{Ended, Program, Proxy, Server, dataplane, get, hello, peer, ready};

/// The path of a file of this repository.
fn repository_path(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), path].iter().collect()
}

async fn promtool(arguments: &[&str], file: &str) -> Option<Ended> {
    let mut command = Command::new(peer("promtool")?);
    Some(Program::start(command.args(arguments).arg(repository_path(file))).end().await)
}

#[tokio::test]
async fn the_example_configuration_is_valid() {
    let Some(checked) = promtool(&["check", "config"], "examples/prometheus/prometheus.yml").await else {
        return;
    };
    let checked = checked.expect_exit(0);
    assert!(checked.out.contains("1 rule files found"), "{checked}");
    assert!(!checked.out.contains("WARNING"), "{checked}");
}

#[tokio::test]
async fn the_example_alerts_are_valid() {
    let Some(checked) = promtool(&["check", "rules"], "examples/prometheus/alerts.yml").await else {
        return;
    };
    let checked = checked.expect_exit(0);
    assert!(checked.out.contains("SUCCESS: 3 rules found"), "{checked}");
}

#[tokio::test]
async fn each_alert_fires_when_it_should_and_not_before() {
    let Some(tested) = promtool(&["test", "rules"], "tests/peers/alerts_test.yml").await else {
        return;
    };
    tested.expect_exit(0);
}

/// An alert on a renamed metric would never fire, and its own test would still pass.
#[tokio::test]
async fn the_alerts_use_existing_metrics() {
    let server = Server::start("").await;
    let _proxy =
        Proxy::open(server.connect().await, [hello(dataplane("default", "web", "web-1")), ready()]).await;
    server.wait_for_counts("web", [1, 1, 1]).await;
    let (_, metrics) = get(server.http, "/metrics").await.unwrap();

    let alerts = fs::read_to_string(repository_path("examples/prometheus/alerts.yml")).unwrap();
    let words = alerts.split_whitespace();
    let names: Vec<_> = words.filter(|word| word.starts_with("headcount_")).collect();
    assert_eq!(names.len(), 7, "the metrics of three alerts: {names:?}");
    for name in names {
        let labels = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        assert!(metrics.lines().any(labels), "{name} is not in:\n{metrics}");
    }
}

#[tokio::test]
async fn promtool_accepts_the_metrics() {
    let Some(promtool) = peer("promtool") else { return };
    let server = Server::start("--demo").await;
    // The metrics cover Workloads, a watcher, and calls of several kinds.
    server.run("wait workload web --healthy 1").await.expect_exit(0);
    let _watch = server.watch("web").await;
    let (_, metrics) = get(server.http, "/metrics").await.unwrap();
    assert!(metrics.contains("headcount_dataplane_proxies_healthy{"), "{metrics}");

    let file = fs::File::open(server.site.file("metrics", &metrics)).unwrap();
    let checked = Program::start(Command::new(&promtool).args(["check", "metrics"]).stdin(file)).end().await;
    assert_eq!((checked.code, &*checked.out, &*checked.err), (Some(0), "", ""), "{checked}");

    // promtool does reject metrics without help.
    let wrong = without_first_help(&metrics);
    let file = fs::File::open(server.site.file("wrong", &wrong)).unwrap();
    let checked = Program::start(Command::new(&promtool).args(["check", "metrics"]).stdin(file)).end().await;
    assert_ne!(checked.code, Some(0), "{checked}");
}

/// Removes the first line of help.
fn without_first_help(metrics: &str) -> String {
    let at = metrics.find("# HELP").unwrap();
    let end = at + metrics[at..].find('\n').unwrap();
    format!("{}{}", &metrics[..at], &metrics[end + 1..])
}
