//! The change of the manifests that a cluster without nodes needs.

use serde_json::{Value, json};

/// Makes the Service an alias of this machine, where headcount listens on `port`. An alias does not
/// map ports, so that every reference to the Service gets this port.
pub(crate) fn point_services_here(objects: &mut [Value], port: u16) {
    for object in objects {
        let kind = object["kind"].as_str().unwrap().to_owned();
        let service = match kind.as_str() {
            "Service" => {
                object["spec"] = json!({"type": "ExternalName", "externalName": "localhost"});
                continue;
            }
            "APIService" => &mut object["spec"]["service"],
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
                &mut object["webhooks"][0]["clientConfig"]["service"]
            }
            _ => continue,
        };
        assert_eq!(service["port"], 443, "{kind}");
        service["port"] = port.into();
    }
}
