//! The rules of the webhooks.

use super::{
    pod::Pod,
    review::{Request, Review},
    verdict::{Denial, PatchOperation, Verdict},
};
use crate::{
    config::AdmissionSettings,
    model::{LabelKey, Namespace, WORKLOAD_LABEL},
    registry::Registry,
    runtime::blocking::run_blocking,
};

/// Kuma's own message.
const LABEL_FORBIDDEN: &str =
    "cannot manually set kuma.io/workload label on Pod; it is automatically managed by Kuma";

/// The rules, with the settings and the registry that they depend on.
#[derive(Debug)]
pub(super) struct Rules {
    registry: Registry,
    workload_labels: Vec<LabelKey>,
    one_mesh_per_namespace: bool,
}

impl Rules {
    pub(super) fn new(registry: &Registry, settings: &AdmissionSettings) -> Self {
        Self {
            registry: registry.clone(),
            workload_labels: settings.workload_labels.clone(),
            one_mesh_per_namespace: settings.one_mesh_per_namespace,
        }
    }

    /// Adds the annotation with the name of its workload to a Pod that joins the mesh. The
    /// Pod's agent reads it.
    pub(super) fn mutate(&self, review: &Review<'_>) -> Verdict {
        match &review.request {
            Request::Create(pod) => self.name_workload(pod).unwrap_or_else(Verdict::Deny),
            Request::Update { .. } | Request::Other => Verdict::Allow,
            Request::Invalid(reason) => Verdict::Deny(Denial::bad_request(reason)),
        }
    }

    fn name_workload(&self, pod: &Pod<'_>) -> Result<Verdict, Denial> {
        if !pod.joins_mesh()? || pod.named_workload()?.is_some() {
            return Ok(Verdict::Allow);
        }
        let workload = pod.derived_workload(&self.workload_labels)?;
        let mut patch = Vec::new();
        // Only if there are none: this operation would replace them.
        if !pod.has_annotations() {
            patch.push(PatchOperation::add(&["metadata", "annotations"], serde_json::json!({})));
        }
        patch.push(PatchOperation::add(&["metadata", "annotations", WORKLOAD_LABEL], workload.as_str()));
        Ok(Verdict::Patch(patch))
    }

    /// Denies Pods with the workload label, with an invalid annotation, or whose mesh is not
    /// allowed in their namespace.
    ///
    /// Of an update only the changed fields are validated: a Pod that is older than a rule must
    /// be able to lose its finalizers, or it could not be deleted.
    pub(super) fn validate(&self, review: &Review<'_>) -> Verdict {
        let checked = match &review.request {
            Request::Create(pod) => self.check(None, pod, &review.namespace),
            Request::Update { old, new } => self.check(Some(old), new, &review.namespace),
            Request::Other => Ok(()),
            Request::Invalid(reason) => Err(Denial::bad_request(reason)),
        };
        checked.map_or_else(Verdict::Deny, |()| Verdict::Allow)
    }

    fn check(&self, old: Option<&Pod<'_>>, new: &Pod<'_>, namespace: &str) -> Result<(), Denial> {
        let label = new.workload_label();
        if label.is_some() && old.is_none_or(|old| old.workload_label() != label) {
            return Err(Denial::forbidden(LABEL_FORBIDDEN));
        }
        let joins = new.joins_mesh();
        let unchanged = joins.is_err() && old.is_some_and(|old| old.joins_mesh() == joins);
        if unchanged || !joins? {
            return Ok(());
        }
        if old.is_none_or(|old| old.workload_annotation() != new.workload_annotation()) {
            new.named_workload()?;
        }
        if self.one_mesh_per_namespace && old.is_none_or(|old| !same_mesh(old, new)) {
            self.check_mesh(new, namespace)?;
        }
        Ok(())
    }

    /// Compares with the registered dataplanes, connected or not. A Pod that was admitted but
    /// has not registered is not known here; then the registry's own rule applies.
    fn check_mesh(&self, pod: &Pod<'_>, namespace: &str) -> Result<(), Denial> {
        let mesh = pod.mesh()?;
        let namespace = Namespace::parse("request.namespace", namespace)
            .map_err(|invalid| Denial::bad_request(invalid.to_string()))?;
        let Some(other) = run_blocking(|| self.registry.other_mesh(&namespace, &mesh)) else { return Ok(()) };
        // Kuma's own message.
        Err(Denial::forbidden(format!(
            "pod is in mesh {mesh:?} but namespace {namespace:?} already contains dataplanes in mesh {other:?}; \
             only one mesh per namespace is allowed when runtime.kubernetes.disallowMultipleMeshesPerNamespace \
             is enabled"
        )))
    }
}

fn same_mesh(old: &Pod<'_>, new: &Pod<'_>) -> bool {
    old.joins_mesh() == Ok(true) && old.mesh() == new.mesh()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        model::{Dataplane, DataplaneLimits, DataplaneSpec},
        registry::{RegistrySettings, Session, tests::connect},
    };

    struct Fixture {
        rules: Rules,
        sessions: Vec<Session>,
    }

    impl Fixture {
        fn new(labels: &[&str], one_mesh_per_namespace: bool) -> Self {
            let workload_labels = labels.iter().map(|key| key.parse().unwrap()).collect();
            let settings = AdmissionSettings { workload_labels, one_mesh_per_namespace };
            let registry = Registry::new(RegistrySettings::default());
            Self { rules: Rules::new(&registry, &settings), sessions: Vec::new() }
        }

        fn join(&mut self, mesh: &str, namespace: &str) {
            let spec = DataplaneSpec {
                mesh: mesh.into(),
                namespace: namespace.into(),
                name: "dp".into(),
                ..DataplaneSpec::default()
            };
            let dataplane = Dataplane::parse(&spec, DataplaneLimits::default()).unwrap();
            self.sessions.push(connect(&self.rules.registry, dataplane).unwrap().session);
        }

        fn review(&self, rule: fn(&Rules, &Review<'_>) -> Verdict, request: &Value) -> Value {
            let review =
                json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
            let text = review.to_string();
            let review = Review::parse(text.as_bytes()).unwrap();
            let response = serde_json::to_value(review.response(rule(&self.rules, &review))).unwrap();
            response["response"].clone()
        }

        /// The Pod after the mutating webhook.
        fn mutated(&self, pod: &Value) -> Value {
            let response = self.review(Rules::mutate, &create(pod));
            assert_eq!(response["allowed"], true, "{response}");
            let mut pod = pod.clone();
            if let Some(patch) = response["patch"].as_str() {
                let patch: json_patch::Patch =
                    serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
                json_patch::patch(&mut pod, &patch).unwrap();
            }
            pod
        }

        fn validated(&self, request: &Value) -> Result<(), String> {
            let response = self.review(Rules::validate, request);
            assert!(response.get("patch").is_none(), "{response}");
            if response["allowed"] == true {
                Ok(())
            } else {
                Err(response["status"]["message"].as_str().unwrap().to_owned())
            }
        }
    }

    fn request(operation: &str, old: &Value, new: &Value) -> Value {
        json!({
            "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": operation,
            "namespace": "shop", "object": new, "oldObject": old,
        })
    }

    fn create(pod: &Value) -> Value {
        request("CREATE", &Value::Null, pod)
    }

    fn pod(metadata: &Value) -> Value {
        json!({"metadata": metadata, "spec": {"serviceAccountName": "web", "containers": []}})
    }

    #[test]
    fn a_pod_gets_the_annotation_and_keeps_everything_else() {
        let f = Fixture::new(&["app"], false);
        for (before, after) in [
            (json!({}), json!({"annotations": {WORKLOAD_LABEL: "web"}})),
            (
                json!({"generateName": "a-"}),
                json!({"generateName": "a-", "annotations": {WORKLOAD_LABEL: "web"}}),
            ),
            (json!({"annotations": null}), json!({"annotations": {WORKLOAD_LABEL: "web"}})),
            (json!({"annotations": {}}), json!({"annotations": {WORKLOAD_LABEL: "web"}})),
            (json!({"annotations": {WORKLOAD_LABEL: ""}}), json!({"annotations": {WORKLOAD_LABEL: "web"}})),
            (
                json!({"annotations": {"a~b/c": "~1", "kuma.io~1workload": "x", "": "y"}}),
                json!({"annotations": {"a~b/c": "~1", "kuma.io~1workload": "x", "": "y", WORKLOAD_LABEL: "web"}}),
            ),
            (
                json!({"labels": {"app": "shop"}}),
                json!({"labels": {"app": "shop"}, "annotations": {WORKLOAD_LABEL: "shop"}}),
            ),
        ] {
            assert_eq!(f.mutated(&pod(&before)), pod(&after));
        }
        for unchanged in [
            json!({"annotations": {WORKLOAD_LABEL: "mine"}, "labels": {"app": "shop"}}),
            json!({"labels": {"kuma.io/sidecar-injection": "disabled", "app": "Not A Name"}}),
        ] {
            assert_eq!(f.mutated(&pod(&unchanged)), pod(&unchanged));
        }
    }

    #[test]
    fn a_pod_with_an_invalid_workload_name_is_denied() {
        let f = Fixture::new(&["app"], false);
        for bad in [json!({"annotations": {WORKLOAD_LABEL: "A b"}}), json!({"labels": {"app": "My_App"}})] {
            let response = f.review(Rules::mutate, &create(&pod(&bad)));
            assert_eq!(response["allowed"], false);
            assert_eq!(
                (&response["status"]["code"], &response["status"]["reason"]),
                (&json!(422), &json!("Invalid"))
            );
            assert!(response.get("patch").is_none());
        }
    }

    #[test]
    fn only_new_pods_are_mutated() {
        let f = Fixture::new(&[], false);
        let plain = pod(&json!({}));
        for (operation, new) in [("UPDATE", &plain), ("DELETE", &Value::Null), ("CONNECT", &Value::Null)] {
            let response = f.review(Rules::mutate, &request(operation, &plain, new));
            assert_eq!(response, json!({"uid": "u", "allowed": true}), "{operation}");
        }
    }

    #[test]
    fn the_label_is_denied_with_kumas_message() {
        let f = Fixture::new(&[], false);
        let (plain, labelled) = (pod(&json!({})), pod(&json!({"labels": {WORKLOAD_LABEL: "x"}})));
        let empty = pod(&json!({"labels": {WORKLOAD_LABEL: ""}}));
        let outside = pod(&json!({"labels": {WORKLOAD_LABEL: "x", "kuma.io/sidecar-injection": "disabled"}}));
        for denied in [
            create(&labelled),
            create(&empty),
            create(&outside),
            request("UPDATE", &plain, &labelled),
            request("UPDATE", &labelled, &empty),
        ] {
            let response = f.review(Rules::validate, &denied);
            assert_eq!(
                response,
                json!({"uid": "u", "allowed": false, "status": {
                    "code": 403, "reason": "Forbidden",
                    "message": "cannot manually set kuma.io/workload label on Pod; it is automatically managed by Kuma"
                }})
            );
        }
        assert_eq!(f.validated(&create(&plain)), Ok(()));
        assert_eq!(f.validated(&request("UPDATE", &labelled, &plain)), Ok(()));
        assert_eq!(f.validated(&request("DELETE", &labelled, &Value::Null)), Ok(()));
    }

    #[test]
    fn fields_that_an_update_does_not_change_are_not_validated() {
        let f = Fixture::new(&[], false);
        let old = pod(
            &json!({"labels": {WORKLOAD_LABEL: "x"}, "annotations": {WORKLOAD_LABEL: "A b"}, "finalizers": ["f"]}),
        );
        let new = pod(&json!({"labels": {WORKLOAD_LABEL: "x"}, "annotations": {WORKLOAD_LABEL: "A b"}}));
        assert_eq!(f.validated(&request("UPDATE", &old, &new)), Ok(()));
        let odd = pod(&json!({"labels": {"kuma.io/sidecar-injection": "maybe"}, "finalizers": ["f"]}));
        let less = pod(&json!({"labels": {"kuma.io/sidecar-injection": "maybe"}}));
        let other = pod(&json!({"labels": {"kuma.io/sidecar-injection": "perhaps"}}));
        assert_eq!(f.validated(&request("UPDATE", &odd, &less)), Ok(()));
        assert!(f.validated(&request("UPDATE", &odd, &other)).unwrap_err().contains("perhaps"));
        let worse = pod(&json!({"labels": {WORKLOAD_LABEL: "x"}, "annotations": {WORKLOAD_LABEL: "B b"}}));
        assert!(f.validated(&request("UPDATE", &old, &worse)).unwrap_err().contains("B b"));
        assert!(f.validated(&create(&pod(&json!({"annotations": {WORKLOAD_LABEL: "A b"}})))).is_err());
    }

    #[tokio::test]
    async fn a_namespace_has_one_mesh_if_the_setting_is_on() {
        let of_mesh = |mesh: &str| pod(&json!({"labels": {"kuma.io/mesh": mesh}}));
        let mut f = Fixture::new(&[], true);
        f.join("b", "shop");
        f.join("c", "shop");
        f.join("a", "elsewhere");
        assert_eq!(
            f.validated(&create(&of_mesh("a"))).unwrap_err(),
            "pod is in mesh \"a\" but namespace \"shop\" already contains dataplanes in mesh \"b\"; only one mesh \
             per namespace is allowed when runtime.kubernetes.disallowMultipleMeshesPerNamespace is enabled"
        );
        assert!(f.validated(&create(&of_mesh("b"))).unwrap_err().contains("in mesh \"c\";"));
        assert!(f.validated(&create(&pod(&json!({})))).unwrap_err().contains("is in mesh \"default\" but"));
        let outside = pod(&json!({"labels": {"kuma.io/sidecar-injection": "disabled"}}));
        assert_eq!(f.validated(&create(&outside)), Ok(()));
        assert_eq!(
            f.validated(&request("UPDATE", &of_mesh("a"), &of_mesh("a"))),
            Ok(()),
            "the mesh is unchanged"
        );
        assert!(f.validated(&request("UPDATE", &of_mesh("b"), &of_mesh("a"))).is_err());
        assert!(
            f.validated(&request("UPDATE", &outside, &of_mesh("a"))).is_err(),
            "it joins with this update"
        );
        f.sessions.clear();

        let mut f = Fixture::new(&[], true);
        f.join("a", "shop");
        assert_eq!(f.validated(&create(&of_mesh("a"))), Ok(()));
        let mut f = Fixture::new(&[], false);
        f.join("b", "shop");
        assert_eq!(f.validated(&create(&of_mesh("a"))), Ok(()), "the setting is off");
    }
}
