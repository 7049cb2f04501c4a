//! What is different of the manifests where no Pod runs.

use serde_json::{Value, json};

/// Leads the Service to this machine, where headcount listens at this port. A
/// name that is an alias has no port of its own, so whoever asks must know it.
pub(crate) fn lead_here(objects: &mut [Value], port: u16) {
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
