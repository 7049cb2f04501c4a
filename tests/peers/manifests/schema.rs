//! Each object has the fields of its kind, and no others.

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::Deployment,
        core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        rbac::v1::ClusterRole,
    },
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{OVERLAYS, built};

/// The object once more, by what Kubernetes knows of its kind: what it does not
/// know is missing then.
fn known<T: DeserializeOwned + Serialize>(object: &Value) -> Value {
    let typed: T = serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    serde_json::to_value(typed).unwrap()
}

/// None for a kind that is not Kubernetes' own.
fn by_its_kind(object: &Value) -> Option<Value> {
    let of = |field: &str| object[field].as_str().unwrap_or_default();
    Some(match (of("apiVersion"), of("kind")) {
        ("v1", "ConfigMap") => known::<ConfigMap>(object),
        ("v1", "Namespace") => known::<Namespace>(object),
        ("v1", "Secret") => known::<Secret>(object),
        ("v1", "Service") => known::<Service>(object),
        ("v1", "ServiceAccount") => known::<ServiceAccount>(object),
        ("apps/v1", "Deployment") => known::<Deployment>(object),
        ("networking.k8s.io/v1", "NetworkPolicy") => known::<NetworkPolicy>(object),
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => known::<ClusterRole>(object),
        ("apiregistration.k8s.io/v1", "APIService") => known::<APIService>(object),
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => {
            known::<MutatingWebhookConfiguration>(object)
        }
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration") => {
            known::<ValidatingWebhookConfiguration>(object)
        }
        ("cert-manager.io/v1", "Certificate" | "Issuer")
        | ("monitoring.coreos.com/v1", "PodMonitor" | "PrometheusRule") => return None,
        (group, kind) => panic!("{group} {kind}: nothing is known of this kind"),
    })
}

#[tokio::test]
async fn every_object_has_the_fields_of_its_kind_and_no_others() {
    for overlay in OVERLAYS {
        let Some(objects) = built(overlay).await else { return };
        assert!(objects.len() > 1, "{overlay}");
        for object in &objects {
            if let Some(known) = by_its_kind(object) {
                assert_eq!(*object, known, "{overlay}");
            }
        }
    }
}

#[tokio::test]
async fn a_field_that_is_misspelt_would_be_found() {
    let Some(mut objects) = built("base").await else { return };
    let deployment = objects.iter_mut().find(|object| object["kind"] == "Deployment").unwrap();
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = Value::Bool(true);
    assert_ne!(by_its_kind(deployment).as_ref(), Some(&*deployment));
}
