//! The part of a kubelet that runs the agent of a Pod.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;

use super::{Application, Program, headcount, replace};

/// Runs the native sidecar of a Pod with the arguments, environment and downward API of its manifest.
/// Only the addresses of the server and the application, the probe interval and the directory `podinfo`
/// differ.
pub(crate) fn run_sidecar(
    pod: &Value,
    podinfo: PathBuf,
    server: SocketAddr,
    application: &Application,
) -> Program {
    let agent = &pod["spec"]["initContainers"][0];
    assert_eq!(agent["restartPolicy"], "Always", "a native sidecar");
    let arguments: Vec<_> = items(&agent["args"]).iter().map(|one| one.as_str().unwrap()).collect();
    let mut command = headcount(&arguments.join(" "));

    let volume = &pod["spec"]["volumes"][0];
    assert_eq!(agent["volumeMounts"][0]["name"], volume["name"]);
    assert_eq!(agent["volumeMounts"][0]["mountPath"], "/etc/podinfo", "the default of the agent");
    fs::create_dir(&podinfo).unwrap();
    for item in items(&volume["downwardAPI"]["items"]) {
        let map = pod_field(pod, item).and_then(Value::as_object).into_iter().flatten();
        // For the values in the manifests, JSON's quoting is the same as Go's.
        let lines: Vec<_> = map.map(|(key, value)| format!("{key}={value}")).collect();
        fs::write(podinfo.join(item["path"].as_str().unwrap()), lines.join("\n")).unwrap();
    }

    for variable in items(&agent["env"]) {
        let of_pod = || pod_field(pod, &variable["valueFrom"])?.as_str();
        let value = variable["value"].as_str().or_else(of_pod).unwrap_or_default();
        let value = match variable["name"].as_str().unwrap() {
            "HEADCOUNT_SERVER" => server.to_string(),
            "HEADCOUNT_INBOUND" => replace(value, "8080", &application.address().port().to_string()),
            _ => value.to_owned(),
        };
        command.env(variable["name"].as_str().unwrap(), value);
    }
    command
        .env("HEADCOUNT_PODINFO_DIR", podinfo)
        .env("HEADCOUNT_PROBE_HOST", application.address().ip().to_string())
        .env("HEADCOUNT_PROBE_INTERVAL", "100ms");
    Program::start(&mut command)
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
