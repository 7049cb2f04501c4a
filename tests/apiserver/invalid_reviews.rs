//! Webhook calls that are not reviews of kube-apiserver, or not about Pods.

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Client, MUTATE, NAME, Site, VALIDATE, soon};

type Change = fn(&mut Value);

fn review(change: impl FnOnce(&mut Value)) -> String {
    let mut review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
        "name": "", "namespace": "default", "object": {"metadata": {"generateName": "a-"}, "spec": {}},
    }});
    change(&mut review);
    review.to_string()
}

async fn both(client: &Client, body: &str, check: impl Fn(crate::support::HttpResponse)) {
    for path in [VALIDATE, MUTATE] {
        check(client.review(path, body).await);
    }
}

#[tokio::test]
async fn a_body_that_is_not_a_review_is_rejected_with_the_reason() {
    let site = Site::start().await;
    let client = site.client(None);
    let cases: [(Change, &str); 8] = [
        (|r| drop(r["request"].as_object_mut().unwrap().remove("uid")), "request.uid: is required"),
        (|r| r["request"]["uid"] = json!(""), "request.uid: is required"),
        (|r| drop(r.as_object_mut().unwrap().remove("request")), "request: is required"),
        (|r| r["request"] = Value::Null, "request: is required"),
        (|r| r["apiVersion"] = json!("admission.k8s.io/v1beta1"), "admissionReviewVersions must be [v1]"),
        (|r| r["kind"] = json!("Pod"), "this is a \"Pod\""),
        (|r| r["request"]["operation"] = json!(["CREATE"]), "this is not an AdmissionReview"),
        (|r| *r = json!([]), "this is not an AdmissionReview"),
    ];
    for (change, reason) in cases {
        both(&client, &review(change), |http| http.assert_status(400, "BadRequest", &[reason])).await;
    }
    for body in ["", "null", "{", "\u{feff}{}", "\u{1b}]0;x\u{7}", &"[".repeat(1_000_000)] {
        both(&client, body, |http| http.assert_status(400, "BadRequest", &["AdmissionReview"])).await;
    }
}

#[tokio::test]
async fn a_review_without_a_pod_is_denied_with_the_remedy() {
    let site = Site::start().await;
    let client = site.client(None);
    let cases: [(Change, &str); 7] = [
        (|r| r["request"]["object"] = Value::Null, "request.object: is required"),
        (|r| drop(r["request"].as_object_mut().unwrap().remove("object")), "request.object: is required"),
        (|r| r["request"]["object"] = json!({}), "is not a Pod: missing field `metadata`"),
        (|r| r["request"]["object"] = json!("pod"), "is not a Pod"),
        (|r| r["request"]["object"]["metadata"]["labels"] = json!(["a"]), "is not a Pod"),
        (
            |r| r["request"]["kind"] = json!({"group": "apps", "version": "v1", "kind": "Deployment"}),
            "resources [pods]",
        ),
        (|r| r["request"]["kind"]["kind"] = json!("\u{1b}".repeat(10_000)), "this webhook is for Pods"),
    ];
    for (change, reason) in cases {
        both(&client, &review(change), |http| {
            assert_eq!(http.code, 200);
            let response = http.json()["response"].clone();
            assert_eq!((&response["uid"], &response["allowed"]), (&json!("u"), &json!(false)), "{response}");
            let status = &response["status"];
            assert_eq!((&status["code"], &status["reason"]), (&json!(400), &json!("BadRequest")), "{status}");
            let message = status["message"].as_str().unwrap();
            assert!(message.contains(reason), "{reason:?} is not in {message:?}");
            assert!(message.len() < 3_000 && !message.contains(char::is_control), "{message}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_very_large_pod_is_admitted_and_a_very_deep_one_rejected() {
    let site = Site::start().await;
    let client = site.client(None);
    let many = review(|r| {
        let annotations = (0..100_000).map(|at| (format!("~/{at}"), json!("\u{1}"))).collect();
        r["request"]["object"]["metadata"]["annotations"] = Value::Object(annotations);
    });
    assert!(many.len() > 1_000_000);
    let http = client.review(MUTATE, &many).await;
    assert_eq!(http.json()["response"]["allowed"], true);
    let deep = review(|r| r["request"]["object"]["spec"]["x"] = json!("REPLACED"));
    let deep = deep.replace("\"REPLACED\"", &"[".repeat(100_000));
    client.review(VALIDATE, &deep).await.assert_status(400, "BadRequest", &["AdmissionReview"]);
}

#[tokio::test]
async fn a_body_above_the_limit_is_rejected_before_its_end() {
    let site = Site::start().await;
    let client = site.client(None);
    for head in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut io = client.connect().await.unwrap();
        let start = format!(
            "POST {VALIDATE} HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n{head}\r\n\r\n"
        );
        io.write_all(start.as_bytes()).await.unwrap();
        let (mut read, mut write) = tokio::io::split(io);
        let flood = tokio::spawn(async move {
            let mut sent = 0_usize;
            let chunk = format!("8000\r\n{:32768}\r\n", "").into_bytes();
            while sent < 100_000_000 && write.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
            }
            sent
        });
        let mut response = vec![0; 1_024];
        let count = soon("a response", read.read(&mut response)).await.unwrap();
        let response = String::from_utf8_lossy(&response[..count]).into_owned();
        assert!(response.starts_with("HTTP/1.1 413 ") && response.contains("7340032 bytes"), "{response}");
        drop(read);
        assert!(soon("the end of the flood", flood).await.unwrap() < 100_000_000);
    }
}

#[tokio::test]
async fn only_posts_of_json_are_accepted() {
    let site = Site::start().await;
    let client = site.client(None);
    let body = review(|_| ());
    for path in [VALIDATE, MUTATE] {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let http = client.request(Method::POST, path, &form, &body).await;
        http.assert_status(415, "UnsupportedMediaType", &["application/json"]);
        let http = client.get(path, &[]).await;
        http.assert_status(405, "MethodNotAllowed", &["AdmissionReviews"]);
        assert_eq!(http.headers["allow"], "POST");
    }
}
