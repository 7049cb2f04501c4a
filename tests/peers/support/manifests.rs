//! The manifests of `deploy/kubernetes`.

use std::{fs, path::Path};

use serde_json::{Value, json};

/// Copies the manifests, without the files that their scripts generate.
pub(crate) fn copy_manifests(to: &Path) {
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes"), to);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap().is_dir() {
            true if entry.file_name() == "generated" => {}
            true => copy(&from, &to),
            false => drop(fs::copy(from, to).unwrap()),
        }
    }
}

/// Returns the Pod that the controllers would create for a Deployment.
pub(crate) fn pod_of(deployment: &Value, name: &str) -> Value {
    let template = &deployment["spec"]["template"];
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    pod["metadata"]["name"] = name.into();
    pod["metadata"]["namespace"] = deployment["metadata"]["namespace"].clone();
    pod
}
