//! The agent in a Kubernetes Pod, configured by its environment and the downward API.

use std::fs;

use tokio::process::Command;

use crate::{
    kuma_example::KUMA_WORKLOAD,
    support::{Application, Program, Server, Signal, headcount},
};

const LABELS: &str = "app=\"demo\"\npod-template-hash=\"7d4b9c\"";
const ANNOTATIONS: &str = "kubernetes.io/psp=\"a \\\"b\\\"\\n\"\nkuma.io/workload=\"demo-workload\"";

/// Returns the command of an agent in a Pod with this name, these labels and these annotations, which
/// probes this application.
fn agent(server: &Server, application: &Application, name: &str, labels: &str, annotations: &str) -> Command {
    let podinfo = server.site.path(&format!("{name}-podinfo"));
    fs::create_dir(&podinfo).unwrap();
    fs::write(podinfo.join("labels"), labels).unwrap();
    fs::write(podinfo.join("annotations"), annotations).unwrap();
    let address = application.address();
    let mut command = headcount("agent");
    command
        .env("POD_NAME", name)
        .env("POD_NAMESPACE", "default")
        .env("POD_IP", "10.1.2.3")
        .env("SERVICE_ACCOUNT", "demo")
        .env("HEADCOUNT_SERVER", server.grpc.to_string())
        .env("HEADCOUNT_PODINFO_DIR", podinfo)
        .env("HEADCOUNT_INBOUND", format!("{}=/healthz", address.port()))
        .env("HEADCOUNT_PROBE_HOST", address.ip().to_string())
        .env("HEADCOUNT_PROBE_INTERVAL", "100ms");
    command
}

#[tokio::test]
async fn three_pods_give_the_example_byte_for_byte() {
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    let mut pods: Vec<_> = ["demo-1", "demo-2", "demo-3"]
        .map(|name| Program::start(&mut agent(&server, &application, name, LABELS, ANNOTATIONS)))
        .into();
    server.run("wait workload demo-workload --healthy 3").await.expect_exit(0);
    let yaml = server.run("get workload demo-workload -n default -o yaml").await.expect_exit(0).out;
    assert_eq!(yaml, KUMA_WORKLOAD);

    application.answer_with(503);
    server.wait_for_counts("demo-workload", [3, 0, 3]).await;
    application.answer_with(200);
    server.wait_for_counts("demo-workload", [3, 3, 3]).await;

    // The kubelet sends SIGTERM before it removes a Pod.
    let pod = pods.remove(0);
    pod.signal(Signal::TERM);
    pod.end().await.expect_exit(0);
    server.wait_for_counts("demo-workload", [2, 2, 2]).await;
}

#[tokio::test]
async fn the_dataplane_has_the_labels_of_its_pod() {
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    let labels = "app=\"demo\"\nkuma.io/mesh=\"shop\"\nkuma.io/zone=\"east\"";
    let _agent = Program::start(&mut agent(&server, &application, "demo-1", labels, ANNOTATIONS));
    server.run("wait workload demo-workload --mesh shop --healthy 1").await.expect_exit(0);
    let proxies = server.run("get dataplanes --workload demo-workload -o yaml").await.expect_exit(0).out;
    for part in [
        "app: demo",
        "k8s.kuma.io/namespace: default",
        "k8s.kuma.io/service-account: demo",
        "kuma.io/workload: demo-workload",
        "10.1.2.3",
        "east",
    ] {
        assert!(proxies.contains(part), "{part} is not in:\n{proxies}");
    }
}

#[tokio::test]
async fn an_agent_without_settings_reports_all_missing_ones() {
    let mut command = headcount("agent --podinfo-dir /nonexistent");
    for variable in ["POD_NAME", "POD_NAMESPACE", "POD_IP", "SERVICE_ACCOUNT"] {
        command.env_remove(variable);
    }
    let ended = Program::start(&mut command).end().await.expect_exit(64);
    for part in [
        "--dataplane-file: is missing",
        "HEADCOUNT_INBOUND (--inbound): is missing",
        "POD_NAME: is missing",
        "fieldPath: metadata.name}",
        "POD_NAMESPACE: is missing",
        "the annotation kuma.io/workload: is not known: mount a downwardAPI volume",
    ] {
        assert!(ended.err.contains(part), "{part} is not in:\n{ended}");
    }
}

#[tokio::test]
async fn a_pod_that_sets_the_workload_label_itself_is_rejected() {
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    let labels = "kuma.io/workload=\"demo-workload\"";
    let agent_with_label = Program::start(&mut agent(&server, &application, "demo-1", labels, ANNOTATIONS));
    let ended = agent_with_label.end().await.expect_exit(64);
    assert!(ended.err.contains("the label kuma.io/workload: is managed automatically"), "{ended}");
}
