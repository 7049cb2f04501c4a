//! What a kubelet does of a Pod that matters here: it runs the agent.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;

use super::{Application, Program, headcount, swap};

/// Runs the native sidecar of a Pod, which sees what the Pod's manifest gives it,
/// save for where the server and the application are on this machine. `podinfo`
/// takes the place of the directory that the manifest mounts.
pub(crate) fn run_sidecar(
    pod: &Value,
    podinfo: PathBuf,
    server: SocketAddr,
    application: &Application,
) -> Program {
    let agent = &pod["spec"]["initContainers"][0];
    assert_eq!(agent["restartPolicy"], "Always", "a native sidecar");
    let words: Vec<_> = items(&agent["args"]).iter().map(|word| word.as_str().unwrap()).collect();
    let mut command = headcount(&words.join(" "));

    let volume = &pod["spec"]["volumes"][0];
    assert_eq!(agent["volumeMounts"][0]["name"], volume["name"]);
    assert_eq!(agent["volumeMounts"][0]["mountPath"], "/etc/podinfo", "where the agent looks by itself");
    fs::create_dir(&podinfo).unwrap();
    for item in items(&volume["downwardAPI"]["items"]) {
        let map = of(pod, item).and_then(Value::as_object).into_iter().flatten();
        // JSON's quotation is Go's, for what the manifests have.
        let lines: Vec<_> = map.map(|(key, value)| format!("{key}={value}")).collect();
        fs::write(podinfo.join(item["path"].as_str().unwrap()), lines.join("\n")).unwrap();
    }

    for variable in items(&agent["env"]) {
        let of_pod = || of(pod, &variable["valueFrom"])?.as_str();
        let value = variable["value"].as_str().or_else(of_pod).unwrap_or_default();
        let value = match variable["name"].as_str().unwrap() {
            "HEADCOUNT_SERVER" => server.to_string(),
            "HEADCOUNT_INBOUND" => swap(value, "8080", &application.address().port().to_string()),
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

/// What a reference of the downward API leads to.
fn of<'a>(pod: &'a Value, reference: &Value) -> Option<&'a Value> {
    let path = reference["fieldRef"]["fieldPath"].as_str().unwrap();
    pod.pointer(&format!("/{}", path.replace('.', "/")))
}

#[track_caller]
fn items(list: &Value) -> &Vec<Value> {
    list.as_array().unwrap_or_else(|| panic!("no list: {list}"))
}
