//! Random requests: each gets a response that Kubernetes' clients can read.

use proptest::{
    collection::vec,
    prelude::{ProptestConfig, Strategy, prop_oneof},
    sample::select,
    test_runner::TestRunner,
};
use serde_json::Value;

use crate::support::{HttpResponse, Server, TABLE};

const SEGMENTS: [&str; 16] = [
    "apis",
    "api",
    "kuma.io",
    "v1alpha1",
    "v1",
    "namespaces",
    "default",
    "workloads",
    "web",
    "events",
    "openapi",
    "v2",
    "v3",
    "%00%1b",
    "..",
    "",
];
const ROOTS: [&str; 5] =
    ["", "/apis/kuma.io/v1alpha1", "/apis/kuma.io/v1alpha1/namespaces/default", "/api/v1", "/openapi"];
const QUERY: [&str; 12] = [
    "limit=1",
    "limit=-1",
    "resourceVersion=1001",
    "resourceVersion=9999",
    "resourceVersionMatch=Exact",
    "continue=p1.x",
    "fieldSelector=metadata.name%3Dweb",
    "labelSelector=%21a",
    "labelSelector=%3D",
    "includeObject=None",
    "%ff=%ff",
    "&",
];
const ACCEPT: [&str; 5] = [TABLE, "application/json", "*/*", "application/yaml", ";;as=Table,,="];
const METHODS: [&str; 5] = ["GET", "GET", "GET", "POST", "OPTIONS"];

fn requests() -> impl Strategy<Value = (&'static str, String, &'static str)> {
    let path = (select(&ROOTS[..]), vec(select(&SEGMENTS[..]), 0..4))
        .prop_map(|(root, more)| more.iter().fold(root.to_owned(), |path, part| format!("{path}/{part}")));
    let query = vec(select(&QUERY[..]), 0..3).prop_map(|parts| parts.join("&"));
    let query = prop_oneof![query.clone(), query.prop_map(|query| format!("?{query}"))];
    let target = (path, query).prop_map(|(path, query)| {
        let query = if query.starts_with('?') { query } else { String::new() };
        if path.is_empty() { format!("/{query}") } else { path + &query }
    });
    (select(&METHODS[..]), target, select(&ACCEPT[..]))
}

fn check(method: &str, response: &HttpResponse) {
    match response.code {
        // Unknown paths have a plain response.
        404 if response.header("content-type").starts_with("text/plain") => return,
        200 | 400 | 404 | 405 | 406 | 410 | 422 | 504 => {}
        other => panic!("{other}"),
    }
    if response.header("content-type").starts_with("application/json") {
        let document: Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!(document["kind"] == "Status", response.code != 200, "{document}");
        if response.code != 200 {
            assert_eq!(document["code"], response.code, "{method}");
        }
    }
}

#[test]
fn every_request_gets_a_response_that_clients_can_read() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::start());
    let _proxies = [server.join("web", 1), server.join("api", 1)];
    let mut runner =
        TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) });
    let outcome = runner.run(&requests(), |(method, target, accept)| {
        let method = method.parse().unwrap();
        let name = format!("{method}");
        let response = runtime.block_on(server.request(method, &target, &[("accept", accept)], "{}"));
        check(&name, &response);
        Ok(())
    });
    outcome.unwrap();
}
