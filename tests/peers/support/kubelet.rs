//! The part of a kubelet that runs a container of a Pod: its arguments, environment and volumes.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tokio::process::Command;

use super::{Application, Program, headcount, replace};

/// What the containers of a Pod get from its cluster.
#[derive(Clone, Copy)]
pub(crate) struct Provided<'a> {
    /// The `ConfigMap`s and Secrets of its namespace.
    pub(crate) objects: &'a [Value],
    /// The token of its `ServiceAccount`.
    pub(crate) token: &'a str,
}

/// Runs the native sidecar of a Pod. Only the addresses of the server and of the application, the probe
/// interval and the directory of the volumes differ from its manifest.
pub(crate) fn run_sidecar(
    pod: &Value,
    volumes: &Path,
    provided: Provided<'_>,
    server: SocketAddr,
    application: &Application,
) -> Program {
    let agent = &pod["spec"]["initContainers"][0];
    assert_eq!(agent["restartPolicy"], "Always", "a native sidecar");
    let mut command = container(pod, agent, volumes, provided);
    let podinfo = items(&agent["volumeMounts"]).iter().find(|mount| mount["mountPath"] == "/etc/podinfo");
    let podinfo = podinfo.expect("the default of the agent")["name"].as_str().unwrap();
    let value = |name: &str| variable(agent, name)["value"].as_str().unwrap().to_owned();
    let service = value("HEADCOUNT_SERVER");
    let service = service.strip_prefix("https://").expect("TLS");
    let (name, _port) = service.rsplit_once(':').unwrap();
    let inbound = replace(&value("HEADCOUNT_INBOUND"), "8080", &application.address().port().to_string());
    command
        .env("HEADCOUNT_SERVER", format!("https://{server}"))
        .env("HEADCOUNT_TLS_SERVER_NAME", name)
        .env("HEADCOUNT_INBOUND", inbound)
        .env("HEADCOUNT_PODINFO_DIR", volumes.join(podinfo))
        .env("HEADCOUNT_PROBE_HOST", application.address().ip().to_string())
        .env("HEADCOUNT_PROBE_INTERVAL", "100ms");
    Program::start(&mut command)
}

/// The command of a container. Its volumes are directories in `volumes`; a path of a mounted volume in an
/// argument, a variable or a file is replaced by that of its directory.
pub(crate) fn container(pod: &Value, container: &Value, volumes: &Path, provided: Provided<'_>) -> Command {
    let directory = |mount: &Value| volumes.join(mount["name"].as_str().unwrap());
    let mounts = items(&container["volumeMounts"]);
    let paths: Vec<(&str, PathBuf)> =
        mounts.iter().map(|mount| (mount["mountPath"].as_str().unwrap(), directory(mount))).collect();
    let here = |text: &str| {
        paths
            .iter()
            .fold(text.to_owned(), |text, (path, here)| text.replace(path, &here.display().to_string()))
    };
    for mount in mounts {
        let volume = items(&pod["spec"]["volumes"]).iter().find(|volume| volume["name"] == mount["name"]);
        let directory = directory(mount);
        fs::create_dir_all(&directory).unwrap();
        for (path, contents) in files(pod, volume.expect("the mounted volume"), provided) {
            fs::write(directory.join(path), here(&contents)).unwrap();
        }
    }
    let arguments: Vec<_> = items(&container["args"]).iter().map(|one| here(one.as_str().unwrap())).collect();
    let mut command = headcount(&arguments.join(" "));
    for variable in items(&container["env"]) {
        let from = &variable["valueFrom"];
        let value = match (variable["value"].as_str(), &from["configMapKeyRef"]) {
            (Some(value), _) => here(value),
            (None, Value::Null) => {
                pod_field(pod, from).and_then(Value::as_str).unwrap_or_default().to_owned()
            }
            (None, key) => {
                let data = &object(provided, "ConfigMap", &key["name"])["data"];
                data[key["key"].as_str().unwrap()].as_str().unwrap().to_owned()
            }
        };
        command.env(variable["name"].as_str().unwrap(), value);
    }
    command
}

/// The names and contents of the files of a volume.
fn files(pod: &Value, volume: &Value, provided: Provided<'_>) -> Vec<(String, String)> {
    let sources = match &volume["projected"]["sources"] {
        Value::Null => std::slice::from_ref(volume),
        sources => items(sources),
    };
    sources.iter().flat_map(|source| source_files(pod, source, provided)).collect()
}

fn source_files(pod: &Value, source: &Value, provided: Provided<'_>) -> Vec<(String, String)> {
    let path = |item: &Value| item["path"].as_str().unwrap().to_owned();
    if let Some(api) = source.get("downwardAPI") {
        let file = |item| {
            let map = pod_field(pod, item).and_then(Value::as_object).into_iter().flatten();
            // For the values in the manifests, JSON's quoting is the same as Go's.
            let lines: Vec<_> = map.map(|(key, value)| format!("{key}={value}")).collect();
            (path(item), lines.join("\n"))
        };
        return items(&api["items"]).iter().map(file).collect();
    }
    if let Some(token) = source.get("serviceAccountToken") {
        return vec![(path(token), provided.token.to_owned())];
    }
    if source.get("persistentVolumeClaim").is_some() {
        return Vec::new();
    }
    let (source, data) = match (source.get("configMap"), source.get("secret")) {
        (Some(source), _) => (source, text_of(object(provided, "ConfigMap", &source["name"]))),
        (_, Some(source)) => {
            let name = if source["secretName"].is_null() { &source["name"] } else { &source["secretName"] };
            (source, text_of(object(provided, "Secret", name)))
        }
        _ => panic!("this volume has no files here: {source}"),
    };
    match source.get("items") {
        None => data,
        Some(chosen) => items(chosen)
            .iter()
            .map(|item| {
                let text = data.iter().find(|(key, _)| item["key"] == key.as_str());
                (path(item), text.unwrap_or_else(|| panic!("no key for {item}")).1.clone())
            })
            .collect(),
    }
}

/// The keys of a `ConfigMap` or a Secret, and their texts.
fn text_of(object: &Value) -> Vec<(String, String)> {
    let decoded = |value: &str| String::from_utf8(BASE64_STANDARD.decode(value).unwrap()).unwrap();
    let text = |value: &str| if object["kind"] == "Secret" { decoded(value) } else { value.to_owned() };
    let data = object["data"].as_object().unwrap();
    data.iter().map(|(key, value)| (key.clone(), text(value.as_str().unwrap()))).collect()
}

#[track_caller]
fn object<'a>(provided: Provided<'a>, kind: &str, name: &Value) -> &'a Value {
    let found =
        provided.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == *name);
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// An environment variable of a container.
#[track_caller]
pub(crate) fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    let found = items(&container["env"]).iter().find(|variable| variable["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {container}"))
}

/// Resolves a reference of the downward API.
fn pod_field<'a>(pod: &'a Value, reference: &Value) -> Option<&'a Value> {
    let path = reference["fieldRef"]["fieldPath"].as_str().unwrap();
    pod.pointer(&format!("/{}", path.replace('.', "/")))
}

#[track_caller]
fn items(list: &Value) -> &Vec<Value> {
    list.as_array().unwrap_or_else(|| panic!("not a list: {list}"))
}
