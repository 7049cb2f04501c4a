//! `headcount get dataplanes` and `headcount get events` against a scripted server.

use std::sync::Arc;

use super::{
    Outcome, end_watch, run_with,
    samples::{WARMING, WARMING_REMARK, dataplane, event},
    scripted_server::ScriptedServer,
};
use crate::proto::{ListDataplanesResponse, ListEventsResponse, WatchEventsResponse};

#[tokio::test]
async fn dataplanes_are_listed_and_selected_by_name() {
    let server = Arc::new(ScriptedServer::default());
    let all = ListDataplanesResponse {
        dataplanes: vec![dataplane("web-1"), dataplane("web-2")],
        ..ListDataplanesResponse::default()
    };
    (0..3).for_each(|_| server.dataplanes.push(Ok(all.clone())));
    let ended = run_with(&server, "get dataplanes --workload web -o wide").await;
    assert_eq!(ended.out.lines().count(), 3, "{}", ended.out);
    assert_eq!(server.dataplanes.requests()[0].workload, "web");
    let ended = run_with(&server, "get dp web-2 -o json").await;
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&json["type"], &json["name"]), (&"Dataplane".into(), &"web-2".into()));
    let ended = run_with(&server, "get dp web-3").await;
    assert_eq!(ended.result.unwrap(), Outcome::Negative);
    assert_eq!(ended.err, "dataplane \"web-3\" not found in default namespace\n");
}

#[tokio::test]
async fn a_server_that_is_warming_is_remarked_with_its_dataplanes() {
    let server = Arc::new(ScriptedServer::default());
    let page = |name, next_page_token: &str, warming| {
        let next_page_token = next_page_token.into();
        Ok(ListDataplanesResponse { dataplanes: vec![dataplane(name)], next_page_token, warming })
    };
    server.dataplanes.push(page("web-1", "more", WARMING));
    server.dataplanes.push(page("web-2", "", None));
    let ended = run_with(&server, "get dataplanes -o json").await;
    assert_eq!(ended.err, WARMING_REMARK);
    let json: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(json["items"].as_array().unwrap().len(), 2);
    server.dataplanes.push(page("web-1", "", None));
    assert_eq!(run_with(&server, "get dataplanes").await.err, "");
}

#[tokio::test]
async fn control_characters_in_events_are_escaped() {
    let server = Arc::new(ScriptedServer::default());
    let malicious = ListEventsResponse { events: vec![event("u", 2, "\u{1b}[2J\u{9b}1m\nforged row")] };
    for format in ["table", "json", "yaml"] {
        server.events.push(Ok(malicious.clone()));
        let ended = run_with(&server, &format!("get events -o {format}")).await;
        assert!(!ended.out.contains(|c: char| c != '\n' && c.is_control()), "{}", ended.out);
        assert!(!ended.out.contains("\nforged"), "{}", ended.out);
    }
}

#[tokio::test]
async fn an_event_watch_prints_no_duplicates_after_a_reconnect() {
    let server = Arc::new(ScriptedServer::default());
    let message = |events: Vec<_>| Ok(WatchEventsResponse { events, keepalive_interval: None });
    server.watch_events.push(Ok(vec![message(vec![event("a", 1, "first")])]));
    let repeated = message(vec![event("a", 1, "first"), event("b", 1, "second")]);
    server.watch_events.push(Ok(vec![repeated, message(vec![event("a", 2, "third")]), end_watch()]));
    let ended = run_with(&server, "get events -w").await;
    let messages: Vec<_> = ended.out.lines().map(|line| line.split_whitespace().last().unwrap()).collect();
    assert_eq!(messages, ["MESSAGE", "first", "second", "third"]);
}
