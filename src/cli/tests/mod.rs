//! Whole commands, from the command line to what a person reads, against a
//! server that answers as it is told.

mod documentation;
mod real_server;
pub(super) mod scripted_server;

use std::{ffi::OsString, sync::Arc};

use clap::CommandFactory;
use tokio::net::TcpListener;
use tonic::Status;

use self::scripted_server::{Fake, dataplane, event, step, workload};
use super::{Cli, Failure, Outcome, Terminal};
use crate::proto::{
    GetWorkloadResponse, ListDataplanesResponse, ListEventsResponse, ListWorkloadsResponse,
    WaitForWorkloadResponse, WatchEventsResponse, WatchWorkloadsResponse, WorkloadRef,
};

/// What a command left behind.
pub(super) struct Ended {
    pub(super) result: Result<Outcome, Failure>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Ended {
    fn failure(self) -> String {
        self.result.expect_err("a failure").to_string()
    }
}

pub(super) async fn run(command: &str) -> Ended {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut terminal = Terminal { out: &mut out, err: &mut err };
    let args = ["headcount"].into_iter().chain(command.split_whitespace());
    let result = super::run(args.map(OsString::from), &mut terminal).await;
    Ended { result, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

async fn ask(fake: &Arc<Fake>, command: &str) -> Ended {
    let address = fake.serve().await;
    run(&format!("{command} --server {address}")).await
}

/// Ends a watch: without it the command would wait for more.
fn enough<T>() -> Result<T, Status> {
    Err(Status::permission_denied("enough"))
}

fn page(names: &[&str], next_page_token: &str) -> ListWorkloadsResponse {
    ListWorkloadsResponse {
        workloads: names.iter().map(|name| workload(name, 3)).collect(),
        next_page_token: next_page_token.into(),
        ..ListWorkloadsResponse::default()
    }
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[tokio::test]
async fn a_listing_follows_the_pages() {
    let fake = Arc::new(Fake::default());
    fake.list.answer(Ok(page(&["a"], "more")));
    fake.list.answer(Ok(page(&["b"], "")));
    let ended = ask(&fake, "get workloads -n shop --mesh m -l kuma.io/zone").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    let names: Vec<_> = ended.out.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(names, ["NAME", "a", "b"]);
    let asked = fake.list.asked();
    let filter = asked[0].filter.clone().unwrap();
    assert_eq!(
        (filter.namespace, filter.mesh, filter.label_selector),
        ("shop".into(), "m".into(), "kuma.io/zone".into())
    );
    assert_eq!(asked[1].page_token, "more");
}

#[tokio::test]
async fn a_listing_that_changes_overtook_starts_over() {
    let fake = Arc::new(Fake::default());
    fake.list.answer(Ok(page(&["old"], "more")));
    fake.list.answer(Err(Status::aborted("too many changes")));
    fake.list.answer(Ok(page(&["new"], "")));
    let ended = ask(&fake, "get wl -A -o yaml").await;
    assert!(!ended.out.contains("old") && ended.out.contains("name: new"), "{}", ended.out);
    assert!(ended.out.starts_with("apiVersion: v1\nkind: List\nitems:\n- apiVersion: kuma.io/v1alpha1\n"));
    assert_eq!(fake.list.asked()[2].page_token, "");
}

#[tokio::test]
async fn nothing_found_is_said_on_stderr_and_is_no_failure() {
    let fake = Arc::new(Fake::default());
    fake.list.answer(Ok(page(&[], "")));
    let ended = ask(&fake, "get workloads").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", "No workloads found in default namespace.\n"));
    fake.list.answer(Ok(page(&[], "")));
    let ended = ask(&fake, "get workloads -A -o json").await;
    assert_eq!(ended.err, "");
    assert!(ended.out.contains("\"items\": []"), "{}", ended.out);
}

#[tokio::test]
async fn a_named_workload_is_there_or_not() {
    let fake = Arc::new(Fake::default());
    fake.get.answer(Ok(GetWorkloadResponse { workload: Some(workload("web", 3)), revision: 1 }));
    let ended = ask(&fake, "get workload web -o yaml").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert!(ended.out.starts_with("apiVersion: kuma.io/v1alpha1\nkind: Workload\n"), "{}", ended.out);
    fake.get.answer(Err(Status::not_found("no")));
    let ended = ask(&fake, "get workload web").await;
    assert_eq!(ended.result.unwrap(), Outcome::No);
    assert_eq!(ended.err, "workload \"web\" not found in default namespace\n");
}

#[tokio::test]
async fn all_that_is_wrong_with_a_command_is_said_at_once() {
    let ended =
        run("get workloads web -A -o xml --request-timeout 10 --server ftp://x -l a=b=c --mesh M").await;
    let report = ended.failure();
    for problem in [
        "6 problems",
        "--all-namespaces: \"web\" is looked for in one namespace",
        "--output: \"xml\": must be one of table, wide, json, yaml (for example table)",
        "--request-timeout: \"10\": time unit needed",
        "--server: \"ftp://x\": the scheme must be http",
        "--selector: \"a=b=c\":",
        "--mesh: \"M\": must be a valid DNS-1123 label",
    ] {
        assert!(report.contains(problem), "{problem}\n---\n{report}");
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_the_connection_was_lost() {
    let fake = Arc::new(Fake::default());
    let snapshot = WatchWorkloadsResponse { reset: true, ..step(vec![workload("web", 1)], "one") };
    let unfinished = WatchWorkloadsResponse { synced: false, ..step(vec![workload("web", 9)], "") };
    fake.watch.answer(Ok(vec![Ok(snapshot), Ok(unfinished), Err(Status::unavailable("draining"))]));
    fake.watch.answer(Err(Status::unavailable("starting")));
    let gone = WorkloadRef { name: "web".into(), namespace: "default".into(), mesh: "default".into() };
    let deleted = WatchWorkloadsResponse { removed: vec![gone], ..step(vec![], "three") };
    fake.watch.answer(Ok(vec![Ok(step(vec![workload("web", 2)], "two")), Ok(deleted), enough()]));

    let ended = ask(&fake, "get workloads -w -o json").await;
    let events: Vec<serde_json::Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = events
        .iter()
        .map(|event| {
            (event["type"].as_str().unwrap(), &event["object"]["status"]["dataplaneProxies"]["total"])
        })
        .collect();
    assert_eq!(seen, [("ADDED", &1.into()), ("MODIFIED", &2.into()), ("DELETED", &2.into())]);
    assert!(ended.err.contains("watch interrupted (draining); reconnecting\nreconnected\n"), "{}", ended.err);
    let tokens: Vec<_> = fake.watch.asked().into_iter().map(|request| request.resume_token).collect();
    assert_eq!(tokens, ["", "one", "one"]);
    assert!(ended.result.unwrap_err().to_string().contains("refused: enough"));
}

#[tokio::test]
async fn a_watch_marks_what_is_deleted_and_says_when_there_is_nothing_yet() {
    let fake = Arc::new(Fake::default());
    let empty = WatchWorkloadsResponse { reset: true, ..step(vec![], "") };
    let gone = WorkloadRef { name: "web".into(), namespace: "default".into(), mesh: "default".into() };
    let deleted = WatchWorkloadsResponse { removed: vec![gone], ..step(vec![], "") };
    fake.watch.answer(Ok(vec![Ok(empty), Ok(step(vec![workload("web", 2)], "")), Ok(deleted), enough()]));
    let ended = ask(&fake, "get workloads -w").await;
    let rows: Vec<Vec<_>> = ended.out.lines().map(|line| line.split_whitespace().take(6).collect()).collect();
    assert_eq!(rows[0], ["NAMESPACE", "NAME", "MESH", "CONNECTED", "HEALTHY", "TOTAL"]);
    assert_eq!(rows[1], ["default", "web", "default", "2", "2", "2"]);
    assert_eq!(rows[2], ["default", "web", "default", "-", "-", "-"]);
    assert!(ended.out.ends_with("<deleted>\n"), "{}", ended.out);
    assert_eq!(ended.err.lines().next(), Some("No workloads found in default namespace."));
}

#[tokio::test]
async fn a_token_the_server_cannot_read_is_dropped() {
    let fake = Arc::new(Fake::default());
    let snapshot = WatchWorkloadsResponse { reset: true, ..step(vec![workload("web", 1)], "odd") };
    fake.watch.answer(Ok(vec![Ok(snapshot.clone())]));
    fake.watch.answer(Err(Status::invalid_argument("resume_token: is no token")));
    fake.watch.answer(Ok(vec![Ok(snapshot), enough()]));
    let ended = ask(&fake, "get workloads -w -o json").await;
    assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
    let tokens: Vec<_> = fake.watch.asked().into_iter().map(|request| request.resume_token).collect();
    assert_eq!(tokens, ["", "odd", ""]);
}

#[tokio::test]
async fn dataplanes_are_listed_and_found_by_name() {
    let fake = Arc::new(Fake::default());
    let all = ListDataplanesResponse {
        dataplanes: vec![dataplane("web-1"), dataplane("web-2")],
        next_page_token: String::new(),
    };
    (0..3).for_each(|_| fake.dataplanes.answer(Ok(all.clone())));
    let ended = ask(&fake, "get dataplanes --workload web -o wide").await;
    assert_eq!(ended.out.lines().count(), 3, "{}", ended.out);
    assert_eq!(fake.dataplanes.asked()[0].workload, "web");
    let ended = ask(&fake, "get dp web-2 -o json").await;
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&json["type"], &json["name"]), (&"Dataplane".into(), &"web-2".into()));
    let ended = ask(&fake, "get dp web-3").await;
    assert_eq!(ended.result.unwrap(), Outcome::No);
    assert_eq!(ended.err, "dataplane \"web-3\" not found in default namespace\n");
}

#[tokio::test]
async fn events_cannot_steer_the_terminal() {
    let fake = Arc::new(Fake::default());
    let evil = ListEventsResponse { events: vec![event("u", 2, "\u{1b}[2J\u{9b}1m\nforged row")] };
    for format in ["table", "json", "yaml"] {
        fake.events.answer(Ok(evil.clone()));
        let ended = ask(&fake, &format!("get events -o {format}")).await;
        assert!(!ended.out.contains(|c: char| c != '\n' && c.is_control()), "{}", ended.out);
        assert!(!ended.out.contains("\nforged"), "{}", ended.out);
    }
}

#[tokio::test]
async fn a_watch_of_events_repeats_nothing_after_a_reconnect() {
    let fake = Arc::new(Fake::default());
    let say = |events: Vec<_>| Ok(WatchEventsResponse { events });
    fake.watch_events.answer(Ok(vec![say(vec![event("a", 1, "first")])]));
    let again = say(vec![event("a", 1, "first"), event("b", 1, "second")]);
    fake.watch_events.answer(Ok(vec![again, say(vec![event("a", 2, "third")]), enough()]));
    let ended = ask(&fake, "get events -w").await;
    let messages: Vec<_> = ended.out.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(messages, ["MESSAGE", "first", "second", "third"]);
}

#[tokio::test]
async fn a_wait_ends_with_the_numbers() {
    let fake = Arc::new(Fake::default());
    fake.wait.answer(Err(Status::unavailable("restarting")));
    fake.wait.answer(Ok(WaitForWorkloadResponse { workload: Some(workload("web", 3)), revision: 1 }));
    let ended = ask(&fake, "wait workload web --healthy 3").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert_eq!(ended.out, "workload default/web: 3 connected, 3 healthy, 3 total\n");
    assert_eq!(ended.err, "connection lost (restarting); trying again\n");
    assert_eq!(fake.wait.asked()[1].minimum_healthy, 3);

    fake.wait.answer(Err(Status::deadline_exceeded("1 connected, 0 healthy, 2 total")));
    let ended = ask(&fake, "wait workload web --connected 3 --timeout 1m").await;
    assert_eq!(ended.result.unwrap(), Outcome::No);
    assert_eq!(ended.err, "timed out after 1m: 1 connected, 0 healthy, 2 total\n");
}

#[tokio::test]
async fn a_wait_longer_than_the_server_allows_asks_again() {
    let fake = Arc::new(Fake::default());
    fake.wait.answer(Err(Status::deadline_exceeded("after an hour")));
    fake.wait.answer(Ok(WaitForWorkloadResponse { workload: Some(workload("web", 3)), revision: 1 }));
    let ended = ask(&fake, "wait workload web --healthy 3 --timeout 2h").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert_eq!(fake.wait.asked()[0].timeout.map(|timeout| timeout.seconds), Some(3600));
}

#[tokio::test]
async fn a_wait_for_nothing_is_refused() {
    let report = run("wait workload Web --timeout soon").await.failure();
    assert!(report.contains("3 problems"), "{report}");
    assert!(report.contains("give --healthy COUNT, --connected COUNT, or both"), "{report}");
}

#[tokio::test]
async fn a_wait_that_no_clock_can_measure_is_refused() {
    let report = run("wait workload web --healthy 1 --timeout 400000000000years").await.failure();
    assert!(report.contains("must be a year or less"), "{report}");
}

#[tokio::test]
async fn a_name_and_a_selector_exclude_each_other() {
    let report = run("get workload web -l kuma.io/mesh=other").await.failure();
    assert!(report.contains("leave out the name or the selector"), "{report}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_explained() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let ended = run(&format!("get workloads --server {nobody}")).await;
    assert!(matches!(ended.result, Err(Failure::Server(_))));
    let text = ended.failure();
    assert!(
        text.contains(&format!("cannot reach the server at http://{nobody}: connection refused")),
        "{text}"
    );
    assert!(text.contains("headcount serve --demo"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_another_kind_of_server_is_explained() {
    let fake = Arc::new(Fake::default());
    let text = ask(&fake, "get workloads").await.failure();
    assert!(text.contains("does not know this request") && text.contains("check --server"), "{text}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let text = run(&format!("get workloads --server {address}")).await.failure();
    assert!(text.contains("it must be the gRPC address of a headcount server"), "{text}");
}

#[tokio::test]
async fn a_refusal_of_the_server_is_the_users_to_mend() {
    let fake = Arc::new(Fake::default());
    fake.list.answer(Err(Status::invalid_argument("filter.mesh: \u{1b}")));
    let ended = ask(&fake, "get workloads").await;
    let Err(Failure::Usage(text)) = ended.result else { panic!("{}", ended.err) };
    assert_eq!(text, r"filter.mesh: \u{1b}");
}

#[tokio::test]
async fn a_kubeconfig_leads_to_the_server_and_the_namespace() {
    let ended = run("kubeconfig --kube-server 127.0.0.1:9 -n shop").await;
    let config: serde_json::Value = serde_saphyr::from_str(&ended.out).unwrap();
    assert_eq!(config["clusters"][0]["cluster"]["server"], "http://127.0.0.1:9");
    let context = serde_json::json!({ "cluster": "headcount", "user": "headcount", "namespace": "shop" });
    assert_eq!(config["contexts"][0]["context"], context);
    assert_eq!(config["current-context"], config["contexts"][0]["name"]);
    let usual = run("kubeconfig").await;
    assert!(usual.out.contains("server: http://127.0.0.1:7102\n"), "{}", usual.out);
    let encrypted = run("kubeconfig --kube-server https://localhost").await;
    assert!(encrypted.out.contains("server: https://localhost:7102\n"), "{}", encrypted.out);
    let wrong = run("kubeconfig --kube-server https://a/b -n No_Namespace").await.failure();
    assert!(
        wrong.contains("2 problems") && wrong.contains("--kube-server") && wrong.contains("namespace"),
        "{wrong}"
    );
}

#[tokio::test]
async fn an_authority_that_nobody_can_use_is_refused_by_its_file() {
    for (words, problems) in [
        (
            "--kube-server https://a --certificate-authority /nowhere",
            &["--certificate-authority /nowhere"][..],
        ),
        ("--kube-server https://a --certificate-authority Cargo.toml", &["Cargo.toml", "certificate"]),
        ("--certificate-authority /nowhere", &["2 problems", "only for a --kube-server of https"]),
    ] {
        let wrong = run(&format!("kubeconfig {words}")).await.failure();
        assert!(problems.iter().all(|problem| wrong.contains(problem)), "{words}: {wrong}");
    }
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run(&format!("completions {shell}")).await;
        assert_eq!(ended.result.unwrap(), Outcome::Success);
        assert!(ended.out.contains("workloads"), "{shell}");
    }
}
