//! Invalid and unknown query parameters of lists and watches.

use crate::support::{Server, WORKLOADS};

#[tokio::test]
async fn invalid_parameters_are_rejected_by_name() {
    let server = Server::start().await;
    let watch = "watch=true&";
    for (query, code, words) in [
        ("resourceVersion=abc", 400, &["resourceVersion", "\"abc\"", "whole number"][..]),
        ("resourceVersion=-1", 400, &["resourceVersion", "\"-1\""]),
        ("resourceVersion=99999999999999999999", 400, &["resourceVersion"]),
        ("limit=x", 400, &["limit", "\"x\""]),
        ("limit=", 400, &["limit"]),
        ("watch=true&resourceVersion=abc", 400, &["resourceVersion"]),
        ("watch=true&timeoutSeconds=soon", 400, &["timeoutSeconds", "\"soon\""]),
        ("resourceVersionMatch=Exact", 422, &["forbidden unless resourceVersion is provided"]),
        ("resourceVersionMatch=NotOlderThan", 422, &["forbidden unless resourceVersion is provided"]),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, &["forbidden", "\"0\""]),
        ("resourceVersion=1&resourceVersionMatch=Newest", 422, &["\"Exact\" or \"NotOlderThan\""]),
        ("continue=x&resourceVersionMatch=Exact", 422, &["forbidden when continue is provided"]),
        ("continue=x&resourceVersion=7", 400, &["not allowed when using continue"]),
        ("sendInitialEvents=true", 422, &["sendInitialEvents is forbidden for list"]),
        (
            &format!("{watch}resourceVersionMatch=NotOlderThan"),
            422,
            &["forbidden for watch unless sendInitialEvents"],
        ),
        (
            &format!("{watch}sendInitialEvents=true"),
            422,
            &["requires setting resourceVersionMatch to NotOlderThan"],
        ),
        (
            &format!("{watch}sendInitialEvents=true&resourceVersionMatch=Exact"),
            422,
            &["forbidden as \"Exact\""],
        ),
        (&format!("{watch}sendInitialEvents=false&resourceVersionMatch=x"), 422, &["\"NotOlderThan\""]),
    ] {
        let reason = if code == 400 { "BadRequest" } else { "Invalid" };
        server.get(&format!("{WORKLOADS}?{query}")).await.assert_status(code, reason, words);
    }
}

#[tokio::test]
async fn unknown_and_repeated_parameters_are_ignored() {
    let server = Server::start().await;
    let _proxy = server.join("web", 1);
    let plain = server.get(WORKLOADS).await.ok();
    for query in [
        "pretty=true",
        "timeout=32s",
        "fieldManager=x&fieldValidation=Strict",
        "watch=false",
        "watch=0",
        "limit=0",
        "limit=-1",
        "limit=500&limit=x",
        "%ff%fe=%00",
        "&&==&",
        "continue=",
    ] {
        assert_eq!(server.get(&format!("{WORKLOADS}?{query}")).await.ok(), plain, "{query}");
    }
}
