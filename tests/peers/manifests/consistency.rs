//! Values that must be the same in two manifests, or in a manifest and the program.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{OVERLAYS, built, containers, find, items, pod_templates, settings};
use crate::support::{Server, get};

#[tokio::test]
async fn every_pod_meets_the_restricted_pod_security_standard() {
    let mut seen = 0;
    for overlay in OVERLAYS {
        let Some(objects) = built(overlay).await else { return };
        for pod in pod_templates(&objects) {
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{pod}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{pod}");
            assert_eq!(
                pod["automountServiceAccountToken"], false,
                "a volume has the token, for one audience: {pod}"
            );
            for container in containers(pod) {
                let context = &container["securityContext"];
                assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
                assert_eq!(context["capabilities"]["drop"][0], "ALL", "{container}");
                assert!(container["resources"]["requests"]["memory"].is_string(), "{container}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{container}");
                let (_, tag) = container["image"].as_str().unwrap().rsplit_once(':').expect("a tag");
                assert_ne!(tag, "latest");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 4 + 4, "the server four times, and two Pods with an agent");
}

#[tokio::test]
async fn the_image_tag_is_the_version_of_the_program() {
    for overlay in ["base", "demo"] {
        let Some(objects) = built(overlay).await else { return };
        let images = pod_templates(&objects).flat_map(containers).map(|container| &container["image"]);
        let ours: Vec<_> = images.filter(|image| image.as_str().unwrap().starts_with("headcount:")).collect();
        assert!(!ours.is_empty());
        for image in ours {
            assert_eq!(image, concat!("headcount:", env!("CARGO_PKG_VERSION")));
        }
    }
}

#[tokio::test]
async fn kube_apiserver_connects_to_the_service_and_port_of_the_server() {
    let Some(objects) = built("self-signed").await else { return };
    let service = find(&objects, "Service", "headcount");
    let port = |name: &str| {
        let ports = items(&service["spec"]["ports"]);
        ports.iter().find(|port| port["name"] == name).unwrap()
    };
    let mut clients = vec![&find(&objects, "APIService", "v1alpha1.kuma.io")["spec"]];
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        clients.push(&find(&objects, kind, "headcount")["webhooks"][0]["clientConfig"]);
    }
    for client in clients {
        assert_eq!(client["service"]["name"], service["metadata"]["name"]);
        assert_eq!(client["service"]["namespace"], service["metadata"]["namespace"]);
        assert_eq!(client["service"]["port"], port("https")["port"]);
        assert_eq!(client["caBundle"], find(&objects, "Secret", "headcount-tls")["data"]["ca.crt"]);
    }
    let pod = &find(&objects, "Deployment", "headcount")["spec"]["template"];
    let ports = items(&pod["spec"]["containers"][0]["ports"]);
    for name in ["grpc", "http", "https"] {
        assert!(ports.iter().any(|port| port["name"] == name));
        assert_eq!(port(name)["targetPort"], name);
    }
    assert_eq!(
        pod["metadata"]["labels"]["app.kubernetes.io/name"],
        service["spec"]["selector"]["app.kubernetes.io/name"]
    );
}

#[tokio::test]
async fn the_cert_manager_certificate_is_the_one_that_is_mounted_and_injected() {
    let Some(objects) = built("cert-manager").await else { return };
    let certificate = find(&objects, "Certificate", "headcount-tls");
    let pod = &find(&objects, "Deployment", "headcount")["spec"]["template"]["spec"];
    let volumes = items(&pod["volumes"]);
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == certificate["spec"]["secretName"]));
    let names = items(&certificate["spec"]["dnsNames"]);
    assert!(
        names.contains(&Value::from("headcount.headcount-system.svc")),
        "the name that kube-apiserver verifies"
    );
    for (kind, name) in [
        ("APIService", "v1alpha1.kuma.io"),
        ("MutatingWebhookConfiguration", "headcount"),
        ("ValidatingWebhookConfiguration", "headcount"),
    ] {
        let annotations = &find(&objects, kind, name)["metadata"]["annotations"];
        assert_eq!(annotations["cert-manager.io/inject-ca-from"], "headcount-system/headcount-tls", "{kind}");
    }
}

#[tokio::test]
async fn the_monitoring_objects_have_the_example_alerts_and_an_existing_port() {
    let (Some(objects), Some(base)) = (built("monitoring").await, built("base").await) else { return };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prometheus/alerts.yml");
    let alerts: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(find(&objects, "PrometheusRule", "headcount")["spec"], alerts);

    let monitor = &find(&objects, "PodMonitor", "headcount")["spec"];
    let template = &find(&base, "Deployment", "headcount")["spec"]["template"];
    let (key, value) = monitor["selector"]["matchLabels"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(template["metadata"]["labels"][key], *value);
    let ports = items(&template["spec"]["containers"][0]["ports"]);
    assert!(ports.iter().any(|port| port["name"] == monitor["podMetricsEndpoints"][0]["port"]));
}

#[tokio::test]
async fn the_webhooks_select_the_namespace_of_the_demo_and_not_that_of_the_server() {
    let (Some(base), Some(demo)) = (built("base").await, built("demo").await) else { return };
    let labels =
        |objects: &[Value], name: &str| find(objects, "Namespace", name)["metadata"]["labels"].clone();
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let webhook = &find(&base, kind, "headcount")["webhooks"][0];
        let selector = &webhook["namespaceSelector"];
        let (key, value) = selector["matchLabels"].as_object().unwrap().iter().next().unwrap();
        assert_eq!(labels(&demo, "headcount-demo")[key], *value, "{kind}");
        assert_eq!(labels(&base, "headcount-system")[key], Value::Null, "{kind}");
        // Whatever labels are set, the server's own Pods never depend on its webhooks.
        let never = json!({
            "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "headcount-system"],
        });
        assert_eq!(selector["matchExpressions"], json!([never]), "{kind}");
    }
}

/// docs/bounds.md has the same figure: 35 KiB for a connection with TLS and a token (BENCHMARKS.md).
#[tokio::test]
async fn the_limits_of_the_settings_fit_the_memory_limit_of_the_pod() {
    let Some(objects) = built("base").await else { return };
    let settings = settings(&objects);
    let bytes = |setting: &str| settings[setting].as_u64().unwrap();
    let pod = &find(&objects, "Deployment", "headcount")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(bytes("maxSessions"), bytes("maxConnections"));
    assert!(bytes("maxConnections") * 35 * 1024 + bytes("maxRegisteredBytes") < (1 << 30) * 9 / 10);
}

#[tokio::test]
async fn the_persistent_server_has_one_writer_and_a_directory_in_its_volume() {
    let Some(objects) = built("persistent").await else { return };
    let deployment = &find(&objects, "Deployment", "headcount")["spec"];
    assert_eq!((&deployment["replicas"], &deployment["strategy"]["type"]), (&json!(1), &json!("Recreate")));
    let pod = &deployment["template"]["spec"];
    // The group of the process can write the volume.
    assert_eq!(pod["securityContext"]["fsGroup"], pod["securityContext"]["runAsGroup"]);
    let claim = find(&objects, "PersistentVolumeClaim", "headcount");
    assert_eq!(
        claim["metadata"]["namespace"],
        find(&objects, "Deployment", "headcount")["metadata"]["namespace"]
    );
    let volume =
        items(&pod["volumes"]).iter().find(|it| it["persistentVolumeClaim"]["claimName"] == "headcount");
    let container = &pod["containers"][0];
    let mounts = items(&container["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == volume.unwrap()["name"]).unwrap();
    assert_eq!(mount["readOnly"], Value::Null);
    let directory = items(&container["env"]).iter().find(|it| it["name"] == "HEADCOUNT_DATA_DIR").unwrap();
    let directory = directory["value"].as_str().unwrap();
    // The root of a volume can't be replaced in one step, and may have a lost+found.
    assert_eq!(Path::new(directory).parent(), mount["mountPath"].as_str().map(Path::new));
}

#[tokio::test]
async fn the_webhook_paths_exist_on_the_server() {
    let Some(objects) = built("base").await else { return };
    let server = Server::start("").await;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let webhook = &find(&objects, kind, "headcount")["webhooks"][0];
        let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
        let (status, body) = get(server.kube, path).await.unwrap();
        assert_eq!(status, 405, "{path} exists but does not allow GET: {body}");
    }
    assert_eq!(get(server.kube, "/mutate-anything").await.unwrap().0, 404);
}
