//! What a webhook is sent that is no question of kube-apiserver's.

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

async fn both(client: &Client, body: &str, check: impl Fn(crate::support::Answer)) {
    for path in [VALIDATE, MUTATE] {
        check(client.review(path, body).await);
    }
}

#[tokio::test]
async fn what_is_no_question_is_refused_with_a_reason() {
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
    for (change, why) in cases {
        both(&client, &review(change), |answer| answer.refuses(400, "BadRequest", &[why])).await;
    }
    for body in ["", "null", "{", "\u{feff}{}", "\u{1b}]0;x\u{7}", &"[".repeat(1_000_000)] {
        both(&client, body, |answer| answer.refuses(400, "BadRequest", &["AdmissionReview"])).await;
    }
}

#[tokio::test]
async fn what_is_asked_about_no_pod_is_denied_with_the_remedy() {
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
    for (change, why) in cases {
        both(&client, &review(change), |answer| {
            assert_eq!(answer.code, 200);
            let response = answer.json()["response"].clone();
            assert_eq!((&response["uid"], &response["allowed"]), (&json!("u"), &json!(false)), "{response}");
            let status = &response["status"];
            assert_eq!((&status["code"], &status["reason"]), (&json!(400), &json!("BadRequest")), "{status}");
            let message = status["message"].as_str().unwrap();
            assert!(message.contains(why), "{why:?} is not in {message:?}");
            assert!(message.len() < 3_000 && !message.contains(char::is_control), "{message}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_pod_with_more_than_anybody_needs_is_judged_all_the_same() {
    let site = Site::start().await;
    let client = site.client(None);
    let many = review(|r| {
        let annotations = (0..100_000).map(|at| (format!("~/{at}"), json!("\u{1}"))).collect();
        r["request"]["object"]["metadata"]["annotations"] = Value::Object(annotations);
    });
    assert!(many.len() > 1_000_000);
    let answer = client.review(MUTATE, &many).await;
    assert_eq!(answer.json()["response"]["allowed"], true);
    let deep = review(|r| r["request"]["object"]["spec"]["x"] = json!("REPLACED"));
    let deep = deep.replace("\"REPLACED\"", &"[".repeat(100_000));
    client.review(VALIDATE, &deep).await.refuses(400, "BadRequest", &["AdmissionReview"]);
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_has_come() {
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
        let mut heard = vec![0; 1_024];
        let count = soon("an answer", read.read(&mut heard)).await.unwrap();
        let heard = String::from_utf8_lossy(&heard[..count]).into_owned();
        assert!(heard.starts_with("HTTP/1.1 413 ") && heard.contains("7340032 bytes"), "{heard}");
        drop(read);
        assert!(soon("the end of the flood", flood).await.unwrap() < 100_000_000);
    }
}

#[tokio::test]
async fn only_json_that_is_posted_is_read() {
    let site = Site::start().await;
    let client = site.client(None);
    let body = review(|_| ());
    for path in [VALIDATE, MUTATE] {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let answer = client.ask(Method::POST, path, &form, &body).await;
        answer.refuses(415, "UnsupportedMediaType", &["application/json"]);
        let answer = client.get(path, &[]).await;
        answer.refuses(405, "MethodNotAllowed", &["AdmissionReviews"]);
        assert_eq!(answer.headers["allow"], "POST");
    }
}
