//! The parts of a Pod that decide its mesh and its workload.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

use super::verdict::Denial;
use crate::model::{
    DEFAULT_MESH, Invalid, LabelKey, MESH_LABEL, MeshName, Quoted, WORKLOAD_LABEL, WorkloadName, entry,
};

/// States whether a Pod joins the mesh. Without it the label of the namespace decides, which
/// the webhook's namespaceSelector has matched before the webhook is called.
const INJECTION_LABEL: &str = "kuma.io/sidecar-injection";
/// The `ServiceAccount` that Kubernetes assigns to a Pod that names none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Labels or annotations.
type StringMap = BTreeMap<String, String>;

/// A Pod; other fields are not parsed.
#[derive(Debug, Deserialize)]
pub(super) struct Pod<'a> {
    metadata: Metadata,
    #[serde(borrow, default)]
    spec: Spec<'a>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    labels: Option<StringMap>,
    annotations: Option<StringMap>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    service_account_name: Option<Cow<'a, str>>,
    /// The deprecated name of the same field.
    #[serde(borrow)]
    service_account: Option<Cow<'a, str>>,
}

/// Returns a value unless it is missing or empty.
fn non_empty<'a>(map: Option<&'a StringMap>, key: &str) -> Option<&'a str> {
    map?.get(key).map(String::as_str).filter(|value| !value.is_empty())
}

impl Pod<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        non_empty(self.metadata.labels.as_ref(), key)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        non_empty(self.metadata.annotations.as_ref(), key)
    }

    /// Whether the Pod has the field `annotations`.
    pub(super) fn has_annotations(&self) -> bool {
        self.metadata.annotations.is_some()
    }

    /// Returns the workload label, which users may not set, even if it is empty.
    pub(super) fn workload_label(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(WORKLOAD_LABEL).map(String::as_str)
    }

    /// Returns the workload that the annotation names, not validated.
    pub(super) fn workload_annotation(&self) -> Option<&str> {
        self.annotation(WORKLOAD_LABEL)
    }

    /// Whether the Pod joins the mesh.
    ///
    /// # Errors
    ///
    /// If the label has an unknown value.
    pub(super) fn joins_mesh(&self) -> Result<bool, Denial> {
        match self.label(INJECTION_LABEL) {
            None | Some("enabled" | "true" | "yes") => Ok(true),
            Some("disabled" | "false" | "no") => Ok(false),
            Some(other) => Err(Denial::invalid(format!(
                "metadata.{}: {}: must be enabled or disabled",
                entry("labels", INJECTION_LABEL),
                Quoted(other)
            ))),
        }
    }

    /// Returns the mesh that the Pod joins, if it joins one. The label of its namespace is not
    /// considered: neither the webhook nor the Pod's agent knows it.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub(super) fn mesh(&self) -> Result<MeshName, Denial> {
        let (field, mesh) = match (self.label(MESH_LABEL), self.annotation(MESH_LABEL)) {
            (Some(mesh), _) => ("labels", mesh),
            (None, Some(mesh)) => ("annotations", mesh),
            (None, None) => ("labels", DEFAULT_MESH),
        };
        MeshName::parse(&format!("metadata.{}", entry(field, MESH_LABEL)), mesh)
            .map_err(|invalid| deny(&invalid))
    }

    /// Returns the workload that the annotation names.
    ///
    /// # Errors
    ///
    /// If the name is invalid.
    pub(super) fn named_workload(&self) -> Result<Option<WorkloadName>, Denial> {
        let Some(name) = self.workload_annotation() else { return Ok(None) };
        let field = format!("metadata.{}", entry("annotations", WORKLOAD_LABEL));
        WorkloadName::parse_kubernetes(&field, name).map(Some).map_err(|invalid| deny(&invalid))
    }

    /// Returns the workload of a Pod without the annotation: the value of the first of `labels`
    /// that is not empty, or the name of its `ServiceAccount`.
    ///
    /// # Errors
    ///
    /// If that value is not a valid name. The next label is not tried instead: identities are
    /// issued by the workload's name, so a typo must not select another one.
    pub(super) fn derived_workload(&self, labels: &[LabelKey]) -> Result<WorkloadName, Denial> {
        let labelled = labels.iter().find_map(|key| Some((key, self.label(key.as_str())?)));
        let (field, name) = match labelled {
            Some((key, value)) => (format!("metadata.{}", entry("labels", key.as_str())), value),
            None => ("spec.serviceAccountName".to_owned(), self.service_account()),
        };
        WorkloadName::parse_kubernetes(&field, name).map_err(|invalid| {
            let Invalid { field, problem } = invalid;
            let remedy =
                "its workload is named after it, unless the annotation kuma.io/workload gives another name";
            Denial::invalid(format!("{field}: {problem}: {remedy}"))
        })
    }

    fn service_account(&self) -> &str {
        let Spec { service_account_name, service_account } = &self.spec;
        let named = [service_account_name, service_account].into_iter().flatten();
        named.map(AsRef::as_ref).find(|name: &&str| !name.is_empty()).unwrap_or(DEFAULT_SERVICE_ACCOUNT)
    }
}

fn deny(invalid: &Invalid) -> Denial {
    Denial::invalid(invalid.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(metadata: &Value, spec: &Value) -> Pod<'static> {
        let text = json!({"kind": "Pod", "metadata": metadata, "spec": spec}).to_string();
        serde_json::from_str(text.leak()).unwrap()
    }

    fn keys(keys: &[&str]) -> Vec<LabelKey> {
        keys.iter().map(|key| key.parse().unwrap()).collect()
    }

    #[test]
    fn a_pod_joins_unless_its_label_disables_it() {
        for (metadata, expected) in [
            (json!({}), true),
            (json!({"labels": null}), true),
            (json!({"labels": {INJECTION_LABEL: ""}}), true),
            (json!({"labels": {INJECTION_LABEL: "enabled"}}), true),
            (json!({"labels": {INJECTION_LABEL: "true"}}), true),
            (json!({"labels": {INJECTION_LABEL: "disabled"}}), false),
            (json!({"labels": {INJECTION_LABEL: "false"}}), false),
            (json!({"annotations": {INJECTION_LABEL: "disabled"}}), true),
        ] {
            assert_eq!(pod(&metadata, &json!({})).joins_mesh(), Ok(expected), "{metadata}");
        }
        let denial =
            pod(&json!({"labels": {INJECTION_LABEL: "maybe"}}), &json!({})).joins_mesh().unwrap_err();
        assert_eq!(
            denial.message,
            "metadata.labels[\"kuma.io/sidecar-injection\"]: \"maybe\": must be enabled or disabled"
        );
    }

    #[test]
    fn the_mesh_comes_from_the_label_or_the_annotation_or_is_the_default() {
        for (metadata, mesh) in [
            (json!({}), "default"),
            (json!({"labels": {MESH_LABEL: ""}}), "default"),
            (json!({"annotations": {MESH_LABEL: "b"}}), "b"),
            (json!({"labels": {MESH_LABEL: "a"}, "annotations": {MESH_LABEL: "b"}}), "a"),
        ] {
            assert_eq!(pod(&metadata, &json!({})).mesh().unwrap().as_str(), mesh, "{metadata}");
        }
        let denial = pod(&json!({"labels": {MESH_LABEL: "A b"}}), &json!({})).mesh().unwrap_err();
        assert!(denial.message.starts_with("metadata.labels[\"kuma.io/mesh\"]: \"A b\""), "{denial:?}");
    }

    #[test]
    fn the_first_label_that_is_not_empty_names_the_workload() {
        let labels = json!({"labels": {"app": "web", "app.kubernetes.io/name": "shop", "empty": ""}});
        let spec = json!({"serviceAccountName": "web-sa"});
        for (order, name) in [
            (&["app.kubernetes.io/name", "app"][..], "shop"),
            (&["app", "app.kubernetes.io/name"], "web"),
            (&["missing", "empty", "app"], "web"),
            (&["missing", "empty"], "web-sa"),
            (&[], "web-sa"),
        ] {
            let derived = pod(&labels, &spec).derived_workload(&keys(order));
            assert_eq!(derived.unwrap().as_str(), name, "{order:?}");
        }
    }

    #[test]
    fn a_pod_without_a_service_account_has_the_one_of_kubernetes() {
        for (spec, name) in [
            (json!({}), "default"),
            (json!({"serviceAccountName": ""}), "default"),
            (json!({"serviceAccountName": null, "serviceAccount": "old"}), "old"),
            (json!({"serviceAccountName": "new", "serviceAccount": "old"}), "new"),
            (json!({"serviceAccountName": "x.y-z"}), "x.y-z"),
        ] {
            let derived = pod(&json!({}), &spec).derived_workload(&[]);
            assert_eq!(derived.unwrap().as_str(), name, "{spec}");
        }
    }

    #[test]
    fn a_label_that_is_not_a_valid_name_is_rejected_with_the_remedy() {
        let labels = json!({"labels": {"app": "My_App", "other": "fine"}});
        let derived = pod(&labels, &json!({})).derived_workload(&keys(&["app", "other"]));
        let message = derived.unwrap_err().message;
        assert!(message.starts_with("metadata.labels[\"app\"]: \"My_App\": must be"), "{message}");
        assert!(message.contains("unless the annotation kuma.io/workload"), "{message}");
    }

    #[test]
    fn an_annotation_is_validated_unless_it_is_empty() {
        let named =
            |name: &str| pod(&json!({"annotations": {WORKLOAD_LABEL: name}}), &json!({})).named_workload();
        assert_eq!(named("demo-workload").unwrap().unwrap().as_str(), "demo-workload");
        assert_eq!(named(&["a".repeat(63), "b".repeat(63)].join(".")).unwrap().unwrap().as_str().len(), 127);
        assert_eq!(named(""), Ok(None));
        for bad in ["Demo", "a/b", "a b", "-a", &"a".repeat(254), "\u{1b}[31m"] {
            let message = named(bad).unwrap_err().message;
            assert!(message.starts_with("metadata.annotations[\"kuma.io/workload\"]: "), "{message}");
            assert!(message.len() < 500 && !message.contains('\u{1b}'), "{message}");
        }
    }
}
