//! `headcount get workloads` against a scripted server.

use std::sync::Arc;

use tonic::Status;

use super::{
    Ended, Outcome, end_watch, run_with,
    samples::{WARMING, WARMING_REMARK, workload, workload_batch},
    scripted_server::ScriptedServer,
};
use crate::proto::{
    GetWorkloadResponse, ListWorkloadsResponse, Warming, WatchWorkloadsResponse, WorkloadRef,
};

fn page(names: &[&str], next_page_token: &str) -> ListWorkloadsResponse {
    ListWorkloadsResponse {
        workloads: names.iter().map(|name| workload(name, 3)).collect(),
        next_page_token: next_page_token.into(),
        ..ListWorkloadsResponse::default()
    }
}

fn found(name: &str) -> GetWorkloadResponse {
    GetWorkloadResponse { workload: Some(workload(name, 3)), ..GetWorkloadResponse::default() }
}

#[tokio::test]
async fn a_list_reads_all_pages() {
    let server = Arc::new(ScriptedServer::default());
    server.list.push(Ok(page(&["a"], "more")));
    server.list.push(Ok(page(&["b"], "")));
    let ended = run_with(&server, "get workloads -n shop --mesh m -l kuma.io/zone").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    let names: Vec<_> = ended.out.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(names, ["NAME", "a", "b"]);
    let requests = server.list.requests();
    let filter = requests[0].filter.clone().unwrap();
    assert_eq!(
        (filter.namespace, filter.mesh, filter.label_selector),
        ("shop".into(), "m".into(), "kuma.io/zone".into())
    );
    assert_eq!(requests[1].page_token, "more");
}

#[tokio::test]
async fn an_aborted_list_starts_again() {
    let server = Arc::new(ScriptedServer::default());
    server.list.push(Ok(page(&["old"], "more")));
    server.list.push(Err(Status::aborted("too many changes")));
    server.list.push(Ok(page(&["new"], "")));
    let ended = run_with(&server, "get wl -A -o yaml").await;
    assert!(!ended.out.contains("old") && ended.out.contains("name: new"), "{}", ended.out);
    assert!(ended.out.starts_with("apiVersion: v1\nkind: List\nitems:\n- apiVersion: kuma.io/v1alpha1\n"));
    assert_eq!(server.list.requests()[2].page_token, "");
}

#[tokio::test]
async fn an_empty_list_prints_a_remark_and_succeeds() {
    let server = Arc::new(ScriptedServer::default());
    server.list.push(Ok(page(&[], "")));
    let ended = run_with(&server, "get workloads").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", "No workloads found in default namespace.\n"));
    server.list.push(Ok(page(&[], "")));
    let ended = run_with(&server, "get workloads -A -o json").await;
    assert_eq!(ended.err, "");
    assert!(ended.out.contains("\"items\": []"), "{}", ended.out);
}

#[tokio::test]
async fn a_missing_workload_is_a_negative_result() {
    let server = Arc::new(ScriptedServer::default());
    server.get.push(Ok(found("web")));
    let ended = run_with(&server, "get workload web -o yaml").await;
    assert_eq!(ended.result.unwrap(), Outcome::Success);
    assert!(ended.out.starts_with("apiVersion: kuma.io/v1alpha1\nkind: Workload\n"), "{}", ended.out);
    server.get.push(Err(Status::not_found("no")));
    let ended = run_with(&server, "get workload web").await;
    assert_eq!(ended.result.unwrap(), Outcome::Negative);
    assert_eq!(ended.err, "workload \"web\" not found in default namespace\n");
}

#[tokio::test]
async fn an_interrupted_watch_resumes() {
    let server = Arc::new(ScriptedServer::default());
    let snapshot = WatchWorkloadsResponse { reset: true, ..workload_batch(vec![workload("web", 1)], "one") };
    let incomplete = WatchWorkloadsResponse { synced: false, ..workload_batch(vec![workload("web", 9)], "") };
    server.watch.push(Ok(vec![Ok(snapshot), Ok(incomplete), Err(Status::unavailable("draining"))]));
    server.watch.push(Err(Status::unavailable("starting")));
    let removed = WorkloadRef { name: "web".into(), namespace: "default".into(), mesh: "default".into() };
    let deleted = WatchWorkloadsResponse { removed: vec![removed], ..workload_batch(vec![], "three") };
    server.watch.push(Ok(vec![
        Ok(workload_batch(vec![workload("web", 2)], "two")),
        Ok(deleted),
        end_watch(),
    ]));

    let ended = run_with(&server, "get workloads -w -o json").await;
    let events: Vec<serde_json::Value> =
        ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let changes: Vec<_> = events
        .iter()
        .map(|event| {
            (event["type"].as_str().unwrap(), &event["object"]["status"]["dataplaneProxies"]["total"])
        })
        .collect();
    assert_eq!(changes, [("ADDED", &1.into()), ("MODIFIED", &2.into()), ("DELETED", &2.into())]);
    assert!(ended.err.contains("watch interrupted (draining); reconnecting\nreconnected\n"), "{}", ended.err);
    let tokens: Vec<_> = server.watch.requests().into_iter().map(|request| request.resume_token).collect();
    assert_eq!(tokens, ["", "one", "one"]);
    assert!(ended.result.unwrap_err().to_string().contains("denied the request: end of the test"));
}

#[tokio::test]
async fn a_watch_prints_deletions_and_an_initial_empty_list() {
    let server = Arc::new(ScriptedServer::default());
    let empty = WatchWorkloadsResponse { reset: true, ..workload_batch(vec![], "") };
    let removed = WorkloadRef { name: "web".into(), namespace: "default".into(), mesh: "default".into() };
    let deleted = WatchWorkloadsResponse { removed: vec![removed], ..workload_batch(vec![], "") };
    server.watch.push(Ok(vec![
        Ok(empty),
        Ok(workload_batch(vec![workload("web", 2)], "")),
        Ok(deleted),
        end_watch(),
    ]));
    let ended = run_with(&server, "get workloads -w").await;
    let rows: Vec<Vec<_>> = ended.out.lines().map(|line| line.split_whitespace().take(6).collect()).collect();
    assert_eq!(rows[0], ["NAMESPACE", "NAME", "MESH", "CONNECTED", "HEALTHY", "TOTAL"]);
    assert_eq!(rows[1], ["default", "web", "default", "2", "2", "2"]);
    assert_eq!(rows[2], ["default", "web", "default", "-", "-", "-"]);
    assert!(ended.out.ends_with("<deleted>\n"), "{}", ended.out);
    assert_eq!(ended.err.lines().next(), Some("No workloads found in default namespace."));
}

#[tokio::test]
async fn a_rejected_resume_token_is_dropped() {
    let server = Arc::new(ScriptedServer::default());
    let snapshot =
        WatchWorkloadsResponse { reset: true, ..workload_batch(vec![workload("web", 1)], "unreadable") };
    server.watch.push(Ok(vec![Ok(snapshot.clone())]));
    server.watch.push(Err(Status::invalid_argument("resume_token: invalid")));
    server.watch.push(Ok(vec![Ok(snapshot), end_watch()]));
    let ended = run_with(&server, "get workloads -w -o json").await;
    assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
    let tokens: Vec<_> = server.watch.requests().into_iter().map(|request| request.resume_token).collect();
    assert_eq!(tokens, ["", "unreadable", ""]);
}

/// Runs a command against a server with the workload `a`.
async fn get_from(warming: Option<Warming>, command: &str) -> Ended {
    let server = Arc::new(ScriptedServer::default());
    server.list.push(Ok(ListWorkloadsResponse { warming, ..page(&["a"], "") }));
    server.get.push(Ok(GetWorkloadResponse { warming, ..found("a") }));
    run_with(&server, command).await
}

/// On standard error, so that documents on standard output stay valid.
#[tokio::test]
async fn a_server_that_is_warming_is_remarked() {
    for format in ["table", "json", "yaml"] {
        for name in ["", "a"] {
            let command = format!("get workloads {name} -o {format}");
            let usual = get_from(None, &command).await;
            let warming = get_from(WARMING, &command).await;
            assert_eq!((&*usual.err, &*warming.err), ("", WARMING_REMARK), "{command}");
            assert_eq!(warming.out, usual.out, "{command}");
        }
    }
}

/// All pages show the revision of the first one, so its state counts.
#[tokio::test]
async fn a_list_of_several_pages_has_one_remark() {
    let server = Arc::new(ScriptedServer::default());
    server.list.push(Ok(ListWorkloadsResponse { warming: WARMING, ..page(&["a"], "more") }));
    server.list.push(Ok(page(&["b"], "")));
    assert_eq!(run_with(&server, "get workloads").await.err, WARMING_REMARK);
    server.list.push(Ok(page(&["a"], "more")));
    server.list.push(Ok(ListWorkloadsResponse { warming: WARMING, ..page(&["b"], "") }));
    assert_eq!(run_with(&server, "get workloads").await.err, "");
}

#[tokio::test]
async fn a_watch_remarks_when_the_server_begins_and_ceases_to_warm() {
    let server = Arc::new(ScriptedServer::default());
    let snapshot = WatchWorkloadsResponse { reset: true, ..workload_batch(vec![workload("web", 1)], "one") };
    let interrupted = Err(Status::unavailable("restarting"));
    server.watch.push(Ok(vec![Ok(snapshot.clone()), interrupted]));
    let warming = |batch| WatchWorkloadsResponse { warming: WARMING, ..batch };
    server.watch.push(Ok(vec![
        // Part of a batch: only a complete one has the state.
        Ok(WatchWorkloadsResponse { synced: false, ..snapshot }),
        Ok(warming(workload_batch(vec![], "two"))),
        Ok(warming(workload_batch(vec![workload("web", 2)], "three"))),
        Ok(workload_batch(vec![workload("web", 3)], "four")),
        Ok(workload_batch(vec![], "five")),
        end_watch(),
    ]));
    let ended = run_with(&server, "get workloads -w -o json").await;
    assert_eq!(ended.out.lines().count(), 3, "{}", ended.out);
    let expected = format!(
        "watch interrupted (restarting); reconnecting\nreconnected\n{WARMING_REMARK}the server no longer waits for \
         dataplanes to reconnect\n"
    );
    assert_eq!(ended.err, expected);
}
