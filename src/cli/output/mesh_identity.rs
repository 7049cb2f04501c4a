//! `MeshIdentities` as table rows, and as Kuma's resource.

use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;

use super::{age::age, print::Printable};
use crate::{
    convert::mesh_identity_spec_value,
    convert::resource::KUMA_API,
    proto::{Condition, MeshIdentity},
};

impl Printable for MeshIdentity {
    const PLURAL: &'static str = "meshidentities";
    const HEADER: &'static [&'static str] =
        &["NAMESPACE", "NAME", "MESH", "READY", "REASON", "AGE", "TRUST-DOMAIN", "PATH"];
    const NARROW: usize = 6;

    fn row(&self, now: SystemTime) -> Vec<String> {
        let ready = self.conditions.iter().find(|condition| condition.r#type == "Ready");
        let text = |of: fn(&Condition) -> &String| ready.map(of).cloned().unwrap_or_default();
        let spec = mesh_identity_spec_value(self);
        let template = |key: &str| spec["spiffeID"][key].as_str().unwrap_or_default().to_owned();
        vec![
            self.namespace.clone(),
            self.name.clone(),
            self.mesh.clone(),
            text(|ready| &ready.status),
            text(|ready| &ready.reason),
            age(self.creation_time.as_ref(), now),
            template("trustDomain"),
            template("path"),
        ]
    }

    fn resource(&self) -> impl Serialize {
        let mut labels = self.labels.clone();
        labels.insert("kuma.io/mesh".to_owned(), self.mesh.clone());
        let conditions = self.conditions.iter().map(|condition| {
            serde_json::json!({
                "type": condition.r#type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
            })
        });
        Resource {
            api_version: KUMA_API,
            kind: "MeshIdentity",
            metadata: serde_json::json!({
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "resourceVersion": self.resource_version,
                "generation": self.generation,
                "creationTimestamp": self.creation_time.as_ref().map(ToString::to_string),
                "labels": labels,
            }),
            spec: mesh_identity_spec_value(self),
            status: serde_json::json!({ "conditions": conditions.collect::<Vec<_>>() }),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    api_version: &'static str,
    kind: &'static str,
    metadata: Value,
    spec: Value,
    status: Value,
}
