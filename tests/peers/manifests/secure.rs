//! The manifests are secure by default.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::{Value, json};

use super::{Manifests, OVERLAYS, built, containers, find, items, pod_templates, settings};
use crate::support::{copy_manifests, variable};

/// Where a container finds a file: the source of the volume that is mounted above the path.
#[track_caller]
fn source_of<'a>(pod: &'a Value, container: &Value, path: &str) -> &'a Value {
    let path = Path::new(path);
    let mounts = items(&container["volumeMounts"]);
    let mount = mounts
        .iter()
        .find(|mount| Some(mount["mountPath"].as_str().unwrap()) == path.parent().unwrap().to_str());
    let mount = mount.unwrap_or_else(|| panic!("{} is not mounted", path.display()));
    let volume = items(&pod["volumes"]).iter().find(|volume| volume["name"] == mount["name"]).unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    let has_file = |source: &&Value| {
        let map = source.get("configMap").or_else(|| source.get("secret"));
        match map.map(|map| map.get("items")) {
            // All keys of the ConfigMap.
            Some(None) => true,
            Some(Some(chosen)) => items(chosen).iter().any(|item| item["path"] == file),
            None => source["serviceAccountToken"]["path"] == file,
        }
    };
    let sources = volume["projected"]["sources"].as_array();
    let sources = sources.map_or(std::slice::from_ref(volume), Vec::as_slice);
    sources.iter().find(has_file).unwrap_or_else(|| panic!("no volume has {}", path.display()))
}

fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![fs::read_to_string(path).unwrap()] })
        .collect()
}

#[test]
fn no_file_has_an_insecure_setting_or_an_address_without_tls() {
    let site = crate::support::Site::new();
    let here = site.path("kubernetes");
    copy_manifests(&here);
    let files = files(&here);
    assert!(files.len() > 20);
    for text in files {
        let lower = text.to_lowercase();
        for word in ["insecure", "anonymous", "http://", "h2c", "plaintext"] {
            assert!(!lower.contains(word), "{word}: {text}");
        }
    }
}

#[tokio::test]
async fn every_listener_has_tls_and_every_file_of_the_settings_is_mounted() {
    for overlay in ["self-signed", "cert-manager", "persistent"] {
        let Some(objects) = built(overlay).await else { return };
        let settings = settings(&objects);
        let pod = &find(&objects, "Deployment", "headcount")["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let source = |setting: &str| source_of(pod, container, settings[setting].as_str().unwrap());
        for file in ["tlsCertFile", "tlsKeyFile"] {
            assert_eq!(source(file)["secret"]["secretName"], "headcount-tls", "{file}");
        }
        assert_eq!(source("accessFile")["configMap"]["name"], "headcount-access");
        assert_eq!(source("kubeClientCaFile")["configMap"]["name"], "headcount-front-proxy");
        let paths = settings.as_object().unwrap().values().filter_map(Value::as_str);
        let paths: BTreeSet<_> = paths.filter(|value| value.starts_with('/')).collect();
        assert_eq!(paths.len(), 4, "those above: {paths:?}");
        let config = container["args"][1].as_str().unwrap().strip_prefix("--config=").unwrap();
        assert!(source_of(pod, container, config)["configMap"]["name"].is_string());
        assert_eq!(items(&container["args"]).len(), 2);
    }
}

#[tokio::test]
async fn the_server_has_a_token_for_kube_apiserver_where_it_looks_for_one() {
    let Some(objects) = built("base").await else { return };
    let pod = &find(&objects, "Deployment", "headcount")["spec"]["template"]["spec"];
    let source = |file: &str| {
        let path = format!("/var/run/secrets/kubernetes.io/serviceaccount/{file}");
        source_of(pod, &pod["containers"][0], &path)
    };
    // Without an audience, the token is for kube-apiserver.
    assert_eq!(source("token")["serviceAccountToken"], json!({"expirationSeconds": 3600, "path": "token"}));
    assert_eq!(source("ca.crt")["configMap"]["name"], "kube-root-ca.crt");
    assert_eq!(pod["serviceAccountName"], find(&objects, "ServiceAccount", "headcount")["metadata"]["name"]);
}

#[tokio::test]
async fn the_server_has_exactly_the_rights_that_it_needs() {
    let needed = json!([
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"nonResourceURLs": ["/.well-known/openid-configuration", "/openid/v1/jwks"], "verbs": ["get"]},
    ]);
    for overlay in OVERLAYS {
        let Some(objects) = built(overlay).await else { return };
        let bindings: Vec<_> = objects
            .iter()
            .filter(|object| object["kind"].as_str().unwrap().ends_with("RoleBinding"))
            .collect();
        if matches!(overlay, "demo" | "monitoring") {
            assert!(bindings.is_empty(), "{bindings:?}");
            continue;
        }
        let [binding] = bindings[..] else { panic!("{bindings:?}") };
        let account = find(&objects, "ServiceAccount", "headcount");
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": "headcount", "namespace": account["metadata"]["namespace"]}])
        );
        assert_eq!(
            (&binding["roleRef"]["kind"], &binding["roleRef"]["name"]),
            (&json!("ClusterRole"), &json!("headcount"))
        );
        assert_eq!(find(&objects, "ClusterRole", "headcount")["rules"], needed);
    }
}

#[tokio::test]
async fn every_agent_has_the_address_a_token_for_the_servers_audience_and_the_ca() {
    let Some(manifests) = Manifests::new().await else { return };
    let (base, demo) = (manifests.build("base").await, manifests.build("demo").await);
    let access = find(&base, "ConfigMap", "headcount-access")["data"]["access.yaml"].as_str().unwrap();
    let access: Value = serde_saphyr::from_str(access).unwrap();
    // The default of the server.
    let audience =
        access["serviceAccountTokens"].get("audience").cloned().unwrap_or_else(|| "headcount".into());
    let service = find(&base, "Service", "headcount");
    let port = items(&service["spec"]["ports"]).iter().find(|port| port["name"] == "grpc").unwrap();
    let host = "headcount.headcount-system.svc";
    let mut agents = 0;
    for pod in pod_templates(&demo) {
        let agent = containers(pod).find(|container| container["args"][0] == "agent").expect("an agent");
        let value = |name| variable(agent, name)["value"].as_str().unwrap();
        assert_eq!(value("HEADCOUNT_SERVER"), format!("https://{host}:{}", port["port"]));
        let token = &source_of(pod, agent, value("HEADCOUNT_TOKEN_FILE"))["serviceAccountToken"];
        assert_eq!(token["audience"], audience, "{pod}");
        assert_eq!(source_of(pod, agent, value("HEADCOUNT_CA_FILE"))["configMap"]["name"], "headcount-ca");
        agents += 1;
    }
    assert_eq!(agents, 2);

    // The name is that of the certificate; tests::running verifies that of self-signed.
    let certificate = manifests.build("cert-manager").await;
    let names = &find(&certificate, "Certificate", "headcount-tls")["spec"]["dnsNames"];
    assert!(items(names).contains(&host.into()), "{names}");
    let monitoring = manifests.build("monitoring").await;
    let tls = &find(&monitoring, "PodMonitor", "headcount")["spec"]["podMetricsEndpoints"][0]["tlsConfig"];
    assert_eq!(tls["serverName"], host);
    assert_eq!(tls["ca"]["secret"], json!({"name": "headcount-tls", "key": "ca.crt"}));
}

#[tokio::test]
async fn the_network_policy_admits_agents_and_lets_the_server_reach_kube_apiserver_alone() {
    let Some(manifests) = Manifests::new().await else { return };
    let (base, demo) = (manifests.build("base").await, manifests.build("demo").await);
    let policy = &find(&base, "NetworkPolicy", "headcount")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    let [grpc, rest] = &items(&policy["ingress"])[..] else { panic!("{policy}") };
    assert_eq!(grpc["ports"], json!([{"port": "grpc"}]));
    let labels = &find(&demo, "Namespace", "headcount-demo")["metadata"]["labels"];
    let selected = grpc["from"][0]["namespaceSelector"]["matchLabels"].as_object().unwrap();
    assert!(selected.iter().all(|(key, value)| labels[key] == *value), "{labels}");
    assert_eq!(*rest, json!({"ports": [{"port": "http"}, {"port": "https"}]}));
    // The Service of kube-apiserver, and the usual port of its endpoints.
    assert_eq!(policy["egress"], json!([{"ports": [{"port": 443}, {"port": 6443}]}]));
}
