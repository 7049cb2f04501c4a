//! The manifests of `deploy/kubernetes`, as `kubectl kustomize` builds them.

mod cluster;
mod consistency;
mod running;
mod schema;
mod secure;

use std::{fs, path::PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::{
    pki::Authority,
    support::{Program, Site, copy_manifests, parse_objects, peer, script},
};

/// All kustomizations that can be applied.
const OVERLAYS: [&str; 6] = ["base", "self-signed", "cert-manager", "persistent", "monitoring", "demo"];

/// A copy of the manifests with the files that their scripts generate.
struct Manifests {
    kubectl: PathBuf,
    site: Site,
}

impl Manifests {
    /// None if kubectl is missing.
    async fn new() -> Option<Self> {
        let (kubectl, site) = (peer("kubectl")?, Site::new());
        let here = site.path("kubernetes");
        copy_manifests(&here);
        let generated = here.join("front-proxy/generated");
        fs::create_dir(&generated).unwrap();
        fs::write(generated.join("ca.crt"), Authority::new().pem).unwrap();
        fs::write(generated.join("names.env"), "allowed-names=front-proxy-client\n").unwrap();
        let manifests = Self { kubectl, site };
        manifests.make_certificate().await;
        Some(manifests)
    }

    /// A path of the copy.
    fn path(&self, name: &str) -> PathBuf {
        self.site.path("kubernetes").join(name)
    }

    async fn make_certificate(&self) {
        let mut script = script(&self.path("self-signed/make-certificate.sh"), &[]);
        Program::start(&mut script).end().await.expect_exit(0);
    }

    /// Builds an overlay, and returns its objects.
    async fn build(&self, overlay: &str) -> Vec<Value> {
        let mut kustomize = Command::new(&self.kubectl);
        let ended =
            Program::start(kustomize.arg("kustomize").arg(self.path(overlay))).end().await.expect_exit(0);
        // kubectl prints warnings about deprecated fields.
        assert_eq!(ended.err, "", "{overlay}");
        parse_objects(&ended.out)
    }
}

/// Builds an overlay, and returns its objects; none if kubectl is missing.
async fn built(overlay: &str) -> Option<Vec<Value>> {
    Some(Manifests::new().await?.build(overlay).await)
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

/// The Pods of the Deployments.
fn pod_templates(objects: &[Value]) -> impl Iterator<Item = &Value> {
    objects.iter().map(|object| &object["spec"]["template"]["spec"]).filter(|spec| !spec.is_null())
}

/// All containers of a Pod.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let init = pod["initContainers"].as_array();
    init.into_iter().flatten().chain(items(&pod["containers"]))
}

/// The settings of the server in the objects of an overlay.
fn settings(objects: &[Value]) -> Value {
    let pod = &find(objects, "Deployment", "headcount")["spec"]["template"]["spec"];
    let config = items(&pod["volumes"]).iter().find(|volume| volume["name"] == "config").unwrap();
    let config = find(objects, "ConfigMap", config["configMap"]["name"].as_str().unwrap());
    serde_saphyr::from_str(config["data"]["headcount.yaml"].as_str().unwrap()).unwrap()
}
