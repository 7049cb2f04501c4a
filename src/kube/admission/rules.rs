//! What is asked of a Pod.

use super::{
    pod::Pod,
    review::{Asked, Denial, Operation, Review, Verdict},
};
use crate::{
    apart::apart,
    config::AdmissionSettings,
    model::{LabelKey, Namespace, WORKLOAD_LABEL},
    registry::Registry,
};

/// In Kuma's words.
const LABELLED: &str =
    "cannot manually set kuma.io/workload label on Pod; it is automatically managed by Kuma";

/// The rules, and what they go by.
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

    /// Gives a Pod that joins the mesh the name of its workload, as the annotation
    /// from which its agent learns it.
    pub(super) fn mutate(&self, review: &Review<'_>) -> Verdict {
        match &review.asked {
            Asked::Create(pod) => self.name(pod).unwrap_or_else(Verdict::Deny),
            Asked::Update { .. } | Asked::Other => Verdict::Allow,
            Asked::Nonsense(why) => Verdict::Deny(Denial::bad_request(why)),
        }
    }

    fn name(&self, pod: &Pod<'_>) -> Result<Verdict, Denial> {
        if !pod.joins()? || pod.named_workload()?.is_some() {
            return Ok(Verdict::Allow);
        }
        let workload = pod.derived_workload(&self.workload_labels)?;
        let mut patch = Vec::new();
        // Only where there are none: it would take the place of those there are.
        if !pod.is_annotated() {
            patch.push(Operation::add(&["metadata", "annotations"], serde_json::json!({})));
        }
        patch.push(Operation::add(&["metadata", "annotations", WORKLOAD_LABEL], workload.as_str()));
        Ok(Verdict::Patch(patch))
    }

    /// Keeps Pods out whose owner names their workload in another way than by the
    /// annotation, or whose mesh may not be in their namespace.
    ///
    /// Of a change only that is looked at which it changes: a Pod that is older than
    /// a rule must stay able to lose its finalizers, or it could never end.
    pub(super) fn validate(&self, review: &Review<'_>) -> Verdict {
        let checked = match &review.asked {
            Asked::Create(pod) => self.check(None, pod, &review.namespace),
            Asked::Update { old, new } => self.check(Some(old), new, &review.namespace),
            Asked::Other => Ok(()),
            Asked::Nonsense(why) => Err(Denial::bad_request(why)),
        };
        checked.map_or_else(Verdict::Deny, |()| Verdict::Allow)
    }

    fn check(&self, old: Option<&Pod<'_>>, new: &Pod<'_>, namespace: &str) -> Result<(), Denial> {
        let label = new.workload_label();
        if label.is_some() && old.is_none_or(|old| old.workload_label() != label) {
            return Err(Denial::forbidden(LABELLED));
        }
        if !new.joins()? {
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

    /// Whoever is registered counts, connected or not. What is let in here and has
    /// not registered yet is not known; then the registry's own rule holds.
    fn check_mesh(&self, pod: &Pod<'_>, namespace: &str) -> Result<(), Denial> {
        let mesh = pod.mesh()?;
        let namespace = Namespace::parse("request.namespace", namespace)
            .map_err(|invalid| Denial::bad_request(invalid.to_string()))?;
        let Some(other) = apart(|| self.registry.other_mesh(&namespace, &mesh)) else { return Ok(()) };
        // Kuma's words again.
        Err(Denial::forbidden(format!(
            "pod is in mesh {mesh:?} but namespace {namespace:?} already contains dataplanes in mesh {other:?}; \
             only one mesh per namespace is allowed when runtime.kubernetes.disallowMultipleMeshesPerNamespace \
             is enabled"
        )))
    }
}

fn same_mesh(old: &Pod<'_>, new: &Pod<'_>) -> bool {
    old.joins() == Ok(true) && old.mesh() == new.mesh()
}
