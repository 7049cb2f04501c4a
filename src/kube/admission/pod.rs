//! A Pod, as far as it decides of which mesh and which workload it is.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;

use super::review::Denial;
use crate::model::{
    DEFAULT_MESH, Invalid, LabelKey, MESH_LABEL, MeshName, Quoted, WORKLOAD_LABEL, WorkloadName, entry,
};

/// Says whether a Pod joins the mesh. One that does not say is as its namespace
/// says, and that the webhook's namespaceSelector has looked at: nobody asks about
/// a Pod that says nothing in a namespace that does not join.
const INJECTION_LABEL: &str = "kuma.io/sidecar-injection";
/// Whom Kubernetes takes for a Pod that names none.
const DEFAULT_SERVICE_ACCOUNT: &str = "default";

/// Labels or annotations.
type Texts = BTreeMap<String, String>;

/// A Pod. Everything else that is in it is left where it is.
#[derive(Debug, Deserialize)]
pub(super) struct Pod<'a> {
    metadata: Metadata,
    #[serde(borrow, default)]
    spec: Spec<'a>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    labels: Option<Texts>,
    annotations: Option<Texts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    service_account_name: Option<Cow<'a, str>>,
    /// By its older name.
    #[serde(borrow)]
    service_account: Option<Cow<'a, str>>,
}

/// A text that says something.
fn said<'a>(texts: Option<&'a Texts>, key: &str) -> Option<&'a str> {
    texts?.get(key).map(String::as_str).filter(|text| !text.is_empty())
}

impl Pod<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        said(self.metadata.labels.as_ref(), key)
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        said(self.metadata.annotations.as_ref(), key)
    }

    /// Whether it has annotations at all.
    pub(super) fn is_annotated(&self) -> bool {
        self.metadata.annotations.is_some()
    }

    /// The label that nobody may set, empty or not.
    pub(super) fn workload_label(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(WORKLOAD_LABEL).map(String::as_str)
    }

    /// The workload that its owner gives it, not checked.
    pub(super) fn workload_annotation(&self) -> Option<&str> {
        self.annotation(WORKLOAD_LABEL)
    }

    /// Whether it joins the mesh.
    pub(super) fn joins(&self) -> Result<bool, Denial> {
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

    /// The mesh that it joins, if it does. That of the namespace's label is not
    /// known here, and not to its agent either.
    pub(super) fn mesh(&self) -> Result<MeshName, Denial> {
        let (field, mesh) = match (self.label(MESH_LABEL), self.annotation(MESH_LABEL)) {
            (Some(mesh), _) => ("labels", mesh),
            (None, Some(mesh)) => ("annotations", mesh),
            (None, None) => ("labels", DEFAULT_MESH),
        };
        MeshName::parse(&format!("metadata.{}", entry(field, MESH_LABEL)), mesh)
            .map_err(|invalid| denied(&invalid))
    }

    /// The workload that its owner gives it.
    pub(super) fn named_workload(&self) -> Result<Option<WorkloadName>, Denial> {
        let Some(name) = self.workload_annotation() else { return Ok(None) };
        let field = format!("metadata.{}", entry("annotations", WORKLOAD_LABEL));
        WorkloadName::parse_kubernetes(&field, name).map(Some).map_err(|invalid| denied(&invalid))
    }

    /// The workload that it is of unless its owner gives it one: that of the first
    /// of these labels that says something, or of its `ServiceAccount`.
    ///
    /// A label's value that is no name is refused, and not passed over: identities
    /// are given out by this name, and it shall not be another than it was meant to.
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

fn denied(invalid: &Invalid) -> Denial {
    Denial::invalid(invalid.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A Pod of this metadata and spec.
    fn pod(metadata: &Value, spec: &Value) -> Pod<'static> {
        let text = json!({"kind": "Pod", "metadata": metadata, "spec": spec}).to_string();
        serde_json::from_str(text.leak()).unwrap()
    }

    fn keys(keys: &[&str]) -> Vec<LabelKey> {
        keys.iter().map(|key| key.parse().unwrap()).collect()
    }

    #[test]
    fn a_pod_joins_unless_it_says_that_it_does_not() {
        for (metadata, joins) in [
            (json!({}), true),
            (json!({"labels": null}), true),
            (json!({"labels": {INJECTION_LABEL: ""}}), true),
            (json!({"labels": {INJECTION_LABEL: "enabled"}}), true),
            (json!({"labels": {INJECTION_LABEL: "true"}}), true),
            (json!({"labels": {INJECTION_LABEL: "disabled"}}), false),
            (json!({"labels": {INJECTION_LABEL: "false"}}), false),
            (json!({"annotations": {INJECTION_LABEL: "disabled"}}), true),
        ] {
            assert_eq!(pod(&metadata, &json!({})).joins(), Ok(joins), "{metadata}");
        }
        let denial = pod(&json!({"labels": {INJECTION_LABEL: "maybe"}}), &json!({})).joins().unwrap_err();
        assert_eq!(
            denial.message,
            "metadata.labels[\"kuma.io/sidecar-injection\"]: \"maybe\": must be enabled or disabled"
        );
    }

    #[test]
    fn the_mesh_is_that_of_the_label_or_the_annotation_or_the_default() {
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
    fn the_first_label_that_says_something_names_the_workload() {
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
    fn a_pod_without_a_service_account_has_kubernetes_default() {
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
    fn a_label_that_is_no_name_is_refused_with_the_remedy() {
        let labels = json!({"labels": {"app": "My_App", "other": "fine"}});
        let derived = pod(&labels, &json!({})).derived_workload(&keys(&["app", "other"]));
        let message = derived.unwrap_err().message;
        assert!(message.starts_with("metadata.labels[\"app\"]: \"My_App\": must be"), "{message}");
        assert!(message.contains("unless the annotation kuma.io/workload"), "{message}");
    }

    #[test]
    fn an_annotation_is_checked_and_an_empty_one_says_nothing() {
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
