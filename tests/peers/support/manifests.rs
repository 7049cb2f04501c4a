//! The manifests of `deploy/kubernetes`.

use std::{env, fs, path::Path};

use serde_json::{Value, json};
use tokio::process::Command;

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

/// Parses the objects that kustomize has built.
pub(crate) fn parse_objects(text: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    for object in objects.iter_mut().filter(|object| object["kind"] == "Secret") {
        // kustomize breaks the lines of base64, which Kubernetes ignores.
        for value in object["data"].as_object_mut().unwrap().values_mut() {
            *value = value.as_str().unwrap().replace('\n', "").into();
        }
    }
    objects
}

/// The command of a script of the manifests, with the `headcount` command and the programs of these
/// directories.
pub(crate) fn script(path: &Path, directories: &[&Path]) -> Command {
    let headcount = Path::new(env!("CARGO_BIN_EXE_headcount")).parent().unwrap();
    let inherited = env::var_os("PATH").unwrap_or_default();
    let directories = directories.iter().map(|directory| directory.to_path_buf());
    let all = [headcount.to_owned()].into_iter().chain(directories).chain(env::split_paths(&inherited));
    let mut command = Command::new(path);
    command.env("PATH", env::join_paths(all).unwrap());
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"HEADCOUNT_")) {
        command.env_remove(name);
    }
    command
}

/// Returns the source of the only `ServiceAccount` token in the volumes of a Pod.
pub(crate) fn token_source(pod: &Value) -> &Value {
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let sources = volumes.iter().filter_map(|volume| volume["projected"]["sources"].as_array()).flatten();
    let found: Vec<_> = sources.filter_map(|source| source.get("serviceAccountToken")).collect();
    let [source] = found[..] else { panic!("{} tokens", found.len()) };
    source
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
