//! Each object has only fields that its kind has.

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::Deployment,
        core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        rbac::v1::{ClusterRole, ClusterRoleBinding},
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{OVERLAYS, built};

/// Converts the object to its Kubernetes type and back, which drops unknown fields.
fn through_type<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    serde_json::to_value(typed).unwrap()
}

/// Returns the object without unknown fields; none for a kind that is not built into Kubernetes.
fn without_unknown_fields(object: &Value) -> Option<Value> {
    let of = |field: &str| object[field].as_str().unwrap_or_default();
    Some(match (of("apiVersion"), of("kind")) {
        ("v1", "ConfigMap") => through_type::<ConfigMap>(object),
        ("v1", "Namespace") => through_type::<Namespace>(object),
        ("v1", "PersistentVolumeClaim") => through_type::<PersistentVolumeClaim>(object),
        ("v1", "Secret") => through_type::<Secret>(object),
        ("v1", "Service") => through_type::<Service>(object),
        ("v1", "ServiceAccount") => through_type::<ServiceAccount>(object),
        ("apps/v1", "Deployment") => through_type::<Deployment>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => through_type::<NetworkPolicy>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => through_type::<ClusterRole>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => through_type::<ClusterRoleBinding>(object),
        ("apiregistration.k8s.io/v1", "APIService") => through_type::<APIService>(object),
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => {
            through_type::<MutatingWebhookConfiguration>(object)
        }
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration") => {
            through_type::<ValidatingWebhookConfiguration>(object)
        }
        ("cert-manager.io/v1", "Certificate" | "Issuer")
        | ("monitoring.coreos.com/v1", "PodMonitor" | "PrometheusRule") => return None,
        (group, kind) => panic!("{group} {kind}: this kind has no type here"),
    })
}

#[tokio::test]
async fn no_object_has_unknown_fields() {
    for overlay in OVERLAYS {
        let Some(objects) = built(overlay).await else { return };
        assert!(objects.len() > 1, "{overlay}");
        for object in &objects {
            if let Some(expected) = without_unknown_fields(object) {
                assert_eq!(*object, expected, "{overlay}");
            }
        }
    }
}

#[tokio::test]
async fn a_misspelled_field_is_detected() {
    let Some(mut objects) = built("base").await else { return };
    let deployment = objects.iter_mut().find(|object| object["kind"] == "Deployment").unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = Value::Bool(true);
    assert_ne!(without_unknown_fields(deployment).as_ref(), Some(&*deployment));
}
