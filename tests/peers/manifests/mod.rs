//! The manifests of `deploy/kubernetes`, as `kubectl kustomize` builds them.

mod consistency;
mod demo;
mod schema;

use std::fs;

use serde_json::Value;
use tokio::process::Command;

use crate::support::{Program, Site, copy_manifests, peer};

/// All kustomizations that can be applied.
const OVERLAYS: [&str; 6] = ["base", "openssl", "cert-manager", "persistent", "monitoring", "demo"];

/// Placeholders for the files that the scripts of the manifests generate.
const GENERATED: [(&str, &str); 6] = [
    ("front-proxy/generated/ca.crt", "a CA"),
    ("front-proxy/generated/names.env", "allowed-names=front-proxy-client\n"),
    ("openssl/generated/tls.crt", "a certificate"),
    ("openssl/generated/tls.key", "a key"),
    ("openssl/generated/ca-bundle-apiservice.yaml", "- op: add\n  path: /spec/caBundle\n  value: YSBDQQ==\n"),
    (
        "openssl/generated/ca-bundle-webhook.yaml",
        "- op: add\n  path: /webhooks/0/clientConfig/caBundle\n  value: YSBDQQ==\n",
    ),
];

/// Builds an overlay, and returns its objects; none if kubectl is missing.
async fn built(overlay: &str) -> Option<Vec<Value>> {
    let kubectl = peer("kubectl")?;
    let site = Site::new();
    let here = site.path("kubernetes");
    copy_manifests(&here);
    for (path, text) in GENERATED {
        let path = here.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut kustomize = Command::new(kubectl);
    let ended = Program::start(kustomize.arg("kustomize").arg(here.join(overlay))).end().await.expect_exit(0);
    // kubectl prints warnings about deprecated fields.
    assert_eq!(ended.err, "", "{overlay}");
    Some(serde_saphyr::from_multiple(&ended.out).unwrap())
}

/// Returns the only object of this kind and name.
#[track_caller]
fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<_> = objects
        .iter()
        .filter(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .collect();
    let [object] = found[..] else { panic!("{} objects {kind} {name}", found.len()) };
    object
}

/// Returns the items of a list, which must exist.
#[track_caller]
fn items(list: &Value) -> &Vec<Value> {
    list.as_array().unwrap_or_else(|| panic!("not a list: {list}"))
}
