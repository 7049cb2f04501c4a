//! The webhooks as kube-apiserver calls them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use headcount::config::AdmissionSettings;
use serde_json::{Value, json};

use crate::support::{Client, MUTATE, Site, VALIDATE};

/// A review as captured from a real kube-apiserver.
fn review(operation: &str, old: &Value, new: &Value) -> Value {
    let (kind, resource) = (
        json!({"group": "", "version": "v1", "kind": "Pod"}),
        json!({"group": "", "version": "v1", "resource": "pods"}),
    );
    json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {
        "uid": "2f16a1c8-0000-4000-8000-000000000000",
        "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
        "name": "r", "namespace": "default", "operation": operation,
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "object": new, "oldObject": old, "dryRun": true,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }})
}

pub(crate) fn create(pod: &Value) -> Value {
    review("CREATE", &Value::Null, pod)
}

pub(crate) fn pod(metadata: &Value) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": metadata,
        "spec": {
            "containers": [{"name": "app", "image": "nginx", "resources": {}}],
            "serviceAccountName": "default", "serviceAccount": "default",
        },
        "status": {},
    })
}

/// Sends a review, checks the envelope of the result, and returns its response.
async fn call_webhook(client: &Client, path: &str, review: &Value) -> Value {
    let http = client.review(path, &review.to_string()).await;
    assert_eq!(http.code, 200, "{:?}", http.body);
    assert_eq!(http.headers["content-type"], "application/json");
    let json = http.json();
    assert_eq!(json["apiVersion"], "admission.k8s.io/v1", "{json}");
    assert_eq!(json["kind"], "AdmissionReview", "{json}");
    assert_eq!(json["response"]["uid"], review["request"]["uid"], "{json}");
    json["response"].clone()
}

fn patch(response: &Value) -> Value {
    assert_eq!(
        (&response["allowed"], &response["patchType"]),
        (&json!(true), &json!("JSONPatch")),
        "{response}"
    );
    serde_json::from_slice(&STANDARD.decode(response["patch"].as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn the_mutating_webhook_adds_the_annotation_with_a_json_patch() {
    let settings = AdmissionSettings {
        workload_labels: vec!["app.kubernetes.io/name".parse().unwrap(), "app".parse().unwrap()],
        ..AdmissionSettings::default()
    };
    let site = Site::with(|kube| kube.admission = settings).await;
    let client = site.client(None);
    let bare = call_webhook(&client, MUTATE, &create(&pod(&json!({"name": "r"})))).await;
    assert_eq!(
        patch(&bare),
        json!([
            {"op": "add", "path": "/metadata/annotations", "value": {}},
            {"op": "add", "path": "/metadata/annotations/kuma.io~1workload", "value": "default"},
        ])
    );
    let labels = json!({"generateName": "r-", "labels": {"app": "demo-workload"}, "annotations": {"a": "b"}});
    let labelled = call_webhook(&client, MUTATE, &create(&pod(&labels))).await;
    assert_eq!(
        patch(&labelled),
        json!([{"op": "add", "path": "/metadata/annotations/kuma.io~1workload", "value": "demo-workload"}])
    );
    let own = json!({"annotations": {"kuma.io/workload": "mine"}, "labels": {"app": "demo-workload"}});
    let own = call_webhook(&client, MUTATE, &create(&pod(&own))).await;
    assert_eq!(own.as_object().unwrap().len(), 2, "only uid and allowed: {own}");
    assert_eq!(own["allowed"], true);
}

/// kube-apiserver calls the validating webhook with the result of the mutating one.
#[tokio::test]
async fn a_patched_pod_is_valid() {
    let site = Site::start().await;
    let client = site.client(None);
    let mut pod = pod(&json!({"generateName": "r-", "annotations": {"a~b/c~1": "x", "~0": "y"}}));
    let patch = patch(&call_webhook(&client, MUTATE, &create(&pod)).await);
    json_patch::patch(&mut pod, &serde_json::from_value::<json_patch::Patch>(patch).unwrap()).unwrap();
    assert_eq!(
        pod["metadata"]["annotations"],
        json!({"a~b/c~1": "x", "~0": "y", "kuma.io/workload": "default"})
    );
    assert_eq!(call_webhook(&client, VALIDATE, &create(&pod)).await["allowed"], true);
    let again = call_webhook(&client, MUTATE, &create(&pod)).await;
    assert!(again.get("patch").is_none(), "the second call changes nothing: {again}");
}

#[tokio::test]
async fn the_label_is_denied_on_creation_and_on_update() {
    let site = Site::start().await;
    let client = site.client(None);
    let (plain, labelled) =
        (pod(&json!({"name": "r"})), pod(&json!({"name": "r", "labels": {"kuma.io/workload": "x"}})));
    for review in [create(&labelled), review("UPDATE", &plain, &labelled)] {
        let response = call_webhook(&client, VALIDATE, &review).await;
        assert_eq!(response["allowed"], false);
        assert_eq!(
            response["status"],
            json!({
                "code": 403, "reason": "Forbidden",
                "message": "cannot manually set kuma.io/workload label on Pod; it is automatically managed by Kuma",
            })
        );
    }
    for review in
        [create(&plain), review("UPDATE", &labelled, &plain), review("DELETE", &labelled, &Value::Null)]
    {
        assert_eq!(call_webhook(&client, VALIDATE, &review).await["allowed"], true, "{review}");
    }
}

#[tokio::test]
async fn an_annotation_with_an_invalid_name_is_denied() {
    let site = Site::start().await;
    let client = site.client(None);
    let bad = create(&pod(&json!({"annotations": {"kuma.io/workload": "Demo Workload"}})));
    for path in [MUTATE, VALIDATE] {
        let response = call_webhook(&client, path, &bad).await;
        assert_eq!(response["allowed"], false, "{path}");
        assert_eq!(response["status"]["code"], 422);
        let message = response["status"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("metadata.annotations[\"kuma.io/workload\"]: \"Demo Workload\": must be"),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_another_mesh_is_denied_if_the_setting_is_on() {
    use headcount::model::{Dataplane, DataplaneLimits, DataplaneSpec};
    let site = Site::with(|kube| kube.admission.one_mesh_per_namespace = true).await;
    let spec = DataplaneSpec { mesh: "blue".into(), name: "dp".into(), ..DataplaneSpec::default() };
    let dataplane = Dataplane::parse(&spec, DataplaneLimits::default()).unwrap();
    let session = site
        .app
        .registry()
        .connect(dataplane, headcount::registry::ConnectOptions::new(std::time::Duration::MAX))
        .await
        .unwrap()
        .session;
    let client = site.client(None);
    let green = create(&pod(&json!({"labels": {"kuma.io/mesh": "green"}})));
    let response = call_webhook(&client, VALIDATE, &green).await;
    assert_eq!(response["status"]["code"], 403);
    let message = response["status"]["message"].as_str().unwrap();
    let message_start =
        "pod is in mesh \"green\" but namespace \"default\" already contains dataplanes in mesh \"blue\"";
    assert!(message.starts_with(message_start), "{message}");
    session.goodbye();
    assert_eq!(
        call_webhook(&client, VALIDATE, &green).await["allowed"],
        true,
        "the other mesh's dataplane has left"
    );
}

/// A server for this machine has the webhooks too, for local tests.
#[tokio::test]
async fn webhooks_are_served_without_tls_too() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let app = crate::support::start(None, |_| ()).await.unwrap();
    let mut io = tokio::net::TcpStream::connect(app.addresses().kube.unwrap()).await.unwrap();
    let body = create(&pod(&json!({}))).to_string();
    for (host, expected) in [("localhost", "200 OK"), ("rebound.example", "403 Forbidden")] {
        let head = format!("POST {VALIDATE} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
        io.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
        let mut response = vec![0; 4_096];
        let read = crate::support::soon("a response", io.read(&mut response)).await.unwrap();
        let response = String::from_utf8_lossy(&response[..read]).into_owned();
        assert!(response.starts_with(&format!("HTTP/1.1 {expected}")), "{response}");
    }
}
