//! The agent of the demo, run as a kubelet would run it.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::{built, find, items};
use crate::support::{Application, Program, Server, headcount, swap};

/// What the downward API makes of a map.
fn downward(map: &Value) -> String {
    let lines = map.as_object().unwrap().iter().map(|(key, value)| format!("{key}={value}\n"));
    lines.collect::<String>().trim_end().to_owned()
}

/// What the downward API says of a Pod that a Deployment has made.
fn field<'a>(path: &str, pod: &'a Value) -> &'a str {
    match path {
        "metadata.name" => "demo-app-7d4b9c-x2x1z",
        "metadata.namespace" => "headcount-demo",
        "status.podIP" => "10.1.2.3",
        "spec.serviceAccountName" => pod["spec"]["serviceAccountName"].as_str().unwrap_or("default"),
        other => panic!("no such field: {other}"),
    }
}

#[tokio::test]
async fn the_agent_understands_its_manifest() {
    let Some(objects) = built("demo").await else { return };
    let server = Server::start("").await;
    let application = Application::start(server.site.any_port());
    for (name, workload) in [("demo-app", "demo-workload"), ("backend", "backend")] {
        let mut pod = find(&objects, "Deployment", name)["spec"]["template"].clone();
        let annotations = &mut pod["metadata"]["annotations"];
        if annotations.is_null() {
            // The webhook has been there.
            *annotations = serde_json::json!({ "kuma.io/workload": "backend" });
        }
        let agent = &pod["spec"]["initContainers"][0];
        assert_eq!(agent["restartPolicy"], "Always", "a native sidecar");

        let mut env: BTreeMap<_, _> = items(&agent["env"])
            .iter()
            .map(|variable| {
                let said = variable["value"].as_str();
                let path = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str();
                let value = said.unwrap_or_else(|| field(path.unwrap(), &pod));
                (variable["name"].as_str().unwrap().to_owned(), value.to_owned())
            })
            .collect();
        // Where both are on this machine.
        let address = application.address();
        env.insert("HEADCOUNT_SERVER".into(), server.grpc.to_string());
        env.insert("HEADCOUNT_PROBE_HOST".into(), address.ip().to_string());
        let inbound = swap(&env["HEADCOUNT_INBOUND"], "8080", &address.port().to_string());
        env.insert("HEADCOUNT_INBOUND".into(), inbound);

        let volume = &pod["spec"]["volumes"][0];
        let mounted = server.site.path(name);
        fs::create_dir(&mounted).unwrap();
        for item in items(&volume["downwardAPI"]["items"]) {
            let part = item["fieldRef"]["fieldPath"].as_str().unwrap().strip_prefix("metadata.").unwrap();
            let file = mounted.join(item["path"].as_str().unwrap());
            fs::write(file, downward(&pod["metadata"][part])).unwrap();
        }
        assert_eq!(agent["volumeMounts"][0]["name"], volume["name"]);
        assert_eq!(agent["volumeMounts"][0]["mountPath"], "/etc/podinfo", "where the agent looks by itself");
        env.insert("HEADCOUNT_PODINFO_DIR".into(), mounted.display().to_string());

        let words: Vec<_> = items(&agent["args"]).iter().map(|word| word.as_str().unwrap()).collect();
        let _agent = Program::start(headcount(&words.join(" ")).envs(env));
        let healthy = format!("wait workload {workload} -n headcount-demo --healthy 1");
        server.run(&healthy).await.with(0);
    }
}
