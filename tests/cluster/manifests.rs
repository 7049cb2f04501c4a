//! Changes to the manifests for a cluster without nodes.

use serde_json::{Value, json};

/// Points the Service at this machine, where headcount listens on this port. A Service of
/// type ExternalName maps no ports, so the references to it must have the port.
pub(crate) fn route_to_this_machine(objects: &mut [Value], port: u16) {
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
