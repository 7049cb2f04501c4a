//! Valid and invalid Pods.

use super::*;

fn map<const N: usize>(entries: [(&str, &str); N]) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The Pod of the demo manifest.
fn demo() -> Pod {
    Pod {
        name: "demo-7d4b9c-x2x1z".into(),
        namespace: "shop".into(),
        ip: "10.1.2.3".into(),
        service_account: "demo".into(),
        info: PodInfo {
            labels: Some(map([("app", "demo"), ("pod-template-hash", "7d4b9c")])),
            annotations: Some(map([("kuma.io/workload", "demo-workload"), ("note", "anything\nat all")])),
        },
        inbounds: vec![8080, 9090],
        ..Pod::default()
    }
}

fn rejections(pod: &Pod) -> Vec<String> {
    pod.dataplane().unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn a_pod_is_a_dataplane() {
    let dataplane = demo().dataplane().unwrap();
    assert_eq!(dataplane.key.to_string(), "default/shop/demo-7d4b9c-x2x1z");
    assert_eq!(dataplane.environment, Environment::Kubernetes);
    assert_eq!(dataplane.workload_key().unwrap().to_string(), "shop/demo-workload");
    assert_eq!(&*dataplane.address, "10.1.2.3");
    assert_eq!(dataplane.inbounds.iter().map(|inbound| inbound.port).collect::<Vec<_>>(), [8080, 9090]);
    assert!(dataplane.agent_version.starts_with("headcount/"));
    assert_eq!(
        dataplane.labels.iter().collect::<Vec<_>>(),
        [
            ("app", "demo"),
            ("k8s.kuma.io/namespace", "shop"),
            ("k8s.kuma.io/service-account", "demo"),
            ("kuma.io/workload", "demo-workload"),
            ("pod-template-hash", "7d4b9c"),
        ]
    );
}

#[test]
fn variables_alone_describe_a_pod() {
    let pod = Pod {
        info: PodInfo::default(),
        ip: String::new(),
        service_account: String::new(),
        workload: "web".into(),
        mesh: "m".into(),
        ..demo()
    };
    let dataplane = pod.dataplane().unwrap();
    assert_eq!(dataplane.key.mesh.as_str(), "m");
    assert_eq!(dataplane.workload.unwrap().as_str(), "web");
    assert_eq!(dataplane.labels.iter().count(), 2);
}

#[test]
fn the_mesh_is_taken_from_the_variable_the_label_the_annotation_or_the_default() {
    let mut pod = demo();
    let mesh = |pod: &Pod| pod.dataplane().unwrap().key.mesh.to_string();
    assert_eq!(mesh(&pod), "default");
    pod.info.annotations = Some(map([("kuma.io/workload", "web"), ("kuma.io/mesh", "annotated")]));
    assert_eq!(mesh(&pod), "annotated");
    pod.info.labels = Some(map([("kuma.io/mesh", "")]));
    assert_eq!(mesh(&pod), "annotated");
    pod.info.labels = Some(map([("kuma.io/mesh", "labelled")]));
    assert_eq!(mesh(&pod), "labelled");
    pod.mesh = "from-variable".into();
    assert_eq!(mesh(&pod), "from-variable");
}

#[test]
fn the_zone_is_taken_from_the_variable_or_the_label() {
    let mut pod = demo();
    assert_eq!(pod.dataplane().unwrap().zone, None);
    pod.info.labels = Some(map([("kuma.io/zone", "east")]));
    assert_eq!(pod.dataplane().unwrap().zone.unwrap().as_str(), "east");
    pod.zone = "west".into();
    assert_eq!(pod.dataplane().unwrap().zone.unwrap().as_str(), "west");
}

#[test]
fn a_pod_may_not_claim_labels_that_the_control_plane_computes() {
    let mut pod = demo();
    pod.info.labels = Some(map([
        ("app", "demo"),
        ("k8s.kuma.io/namespace", "other"),
        ("k8s.kuma.io/service-account", "admin"),
        ("kuma.io/display-name", "other"),
        ("kuma.io/env", "universal"),
        ("kuma.io/mesh", "labelled"),
        ("kuma.io/origin", "global"),
        ("kuma.io/zone", "labelled"),
    ]));
    (pod.mesh, pod.zone) = ("m".into(), "west".into());
    pod.service_account = String::new();
    assert_eq!(
        pod.dataplane().unwrap().labels.iter().collect::<Vec<_>>(),
        [
            ("app", "demo"),
            ("k8s.kuma.io/namespace", "shop"),
            ("kuma.io/mesh", "m"),
            ("kuma.io/workload", "demo-workload"),
            ("kuma.io/zone", "west"),
        ]
    );
    pod.service_account = "demo".into();
    assert_eq!(pod.dataplane().unwrap().labels.get("k8s.kuma.io/service-account"), Some("demo"));
}

#[test]
fn a_variable_that_kubernetes_did_not_replace_is_a_placeholder() {
    let pod = Pod { ip: "$(POD_IP)".into(), ..demo() };
    assert!(rejections(&pod)[0].starts_with("POD_IP: the placeholder \"$(POD_IP)\" was not filled in"));
    let pod = Pod { workload: "$(WORKLOAD)".into(), ..demo() };
    assert!(rejections(&pod)[0].starts_with("HEADCOUNT_WORKLOAD: the placeholder"));
}

#[test]
fn the_agent_has_no_limit_on_labels_of_its_own() {
    let mut pod = demo();
    pod.info.labels = Some((0..71).map(|n| (format!("l{n}"), String::new())).collect());
    assert_eq!(pod.dataplane().unwrap().labels.iter().count(), 74);
}

#[test]
fn a_workload_name_may_be_as_long_as_a_service_account_name() {
    let workload = format!("1.{}", "a.".repeat(100)) + "z";
    let pod = Pod { workload: workload.clone(), ..demo() };
    assert_eq!(pod.dataplane().unwrap().workload.unwrap().as_str(), workload);
}

#[test]
fn all_missing_values_are_reported_with_the_manifest_lines_to_add() {
    let problems = rejections(&Pod::default());
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].starts_with("POD_NAME: is missing:"), "{problems:#?}");
    assert!(problems[0].contains("fieldPath: metadata.name}"), "{problems:#?}");
    assert!(problems[1].starts_with("POD_NAMESPACE: is missing:"), "{problems:#?}");
    assert!(problems[1].contains("fieldPath: metadata.namespace}"), "{problems:#?}");
    assert!(problems[2].starts_with("the annotation kuma.io/workload: is not known: mount"), "{problems:#?}");
    assert!(problems[2].contains("fieldPath: metadata.annotations}"), "{problems:#?}");
    assert!(problems[2].contains("metadata.annotations['kuma.io/workload']"), "{problems:#?}");
}

#[test]
fn a_missing_annotation_is_reported_with_the_ways_to_set_it() {
    for annotations in [map([]), map([("kuma.io/workload", "")])] {
        let pod = Pod { info: PodInfo { annotations: Some(annotations), ..PodInfo::default() }, ..demo() };
        let problems = rejections(&pod);
        assert!(
            problems[0].starts_with("the annotation kuma.io/workload: is not on the Pod:"),
            "{problems:?}"
        );
        assert!(problems[0].contains("admission webhook"), "{problems:?}");
    }
}

#[test]
fn the_workload_label_is_rejected() {
    let mut pod = demo();
    pod.info.labels = Some(map([("kuma.io/workload", "demo-workload")]));
    let problems = rejections(&pod);
    assert!(problems[0].starts_with("the label kuma.io/workload: is managed automatically"), "{problems:?}");
    assert!(problems[0].contains("set the annotation"), "{problems:?}");
}

#[test]
fn an_invalid_value_is_reported_with_its_source() {
    let change = |change: fn(&mut Pod)| {
        let mut pod = demo();
        change(&mut pod);
        let problems = rejections(&pod);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems[0].clone()
    };
    for (problem, expected) in [
        (change(|pod| pod.name = "Demo".into()), "POD_NAME: \"Demo\": must be"),
        (change(|pod| pod.namespace = "a.b".into()), "POD_NAMESPACE: \"a.b\": must be"),
        (change(|pod| pod.ip = "a\tb".into()), "POD_IP: "),
        (change(|pod| pod.service_account = "a b".into()), "SERVICE_ACCOUNT: "),
        (change(|pod| pod.mesh = "M".into()), "HEADCOUNT_MESH: \"M\": must be"),
        (change(|pod| pod.zone = "Z".into()), "HEADCOUNT_ZONE: \"Z\": must be"),
        (change(|pod| pod.workload = "W".into()), "HEADCOUNT_WORKLOAD: \"W\": must be"),
        (
            change(|pod| pod.info.labels = Some(map([("kuma.io/mesh", "M")]))),
            "the label kuma.io/mesh: \"M\": must be",
        ),
        (
            change(|pod| pod.info.labels = Some(map([("kuma.io/zone", "Z")]))),
            "the label kuma.io/zone: \"Z\": must be",
        ),
        (
            change(|pod| pod.info.annotations = Some(map([("kuma.io/workload", "Demo_Workload")]))),
            "the annotation kuma.io/workload: \"Demo_Workload\": must be",
        ),
        (change(|pod| pod.info.labels = Some(map([("a b", "c")]))), "labels[\"a b\"]: "),
        (change(|pod| pod.inbounds = vec![80, 80]), "inbounds[1].port: 80 is declared by inbounds[0]"),
    ] {
        assert!(problem.starts_with(expected), "{problem}");
    }
}
