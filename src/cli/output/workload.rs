//! Workloads as table rows, and as Kuma's Workload resource.

use std::time::SystemTime;

use serde::Serialize;

use super::{age::age, print::Printable};
use crate::{
    convert::resource::{KUMA_API, Metadata, WorkloadResource},
    model::{Counts, ZONE_LABEL},
    proto,
};

impl Printable for proto::Workload {
    const PLURAL: &'static str = "workloads";
    const HEADER: &'static [&'static str] = &[
        "NAMESPACE",
        "NAME",
        "MESH",
        "CONNECTED",
        "HEALTHY",
        "TOTAL",
        "AGE",
        "ZONE",
        "REVISION",
        "LAST-CHANGE",
        "UID",
    ];
    const NARROW: usize = 7;

    fn row(&self, now: SystemTime) -> Vec<String> {
        let counts = counts(self);
        let changed = self.status.as_ref().and_then(|status| status.last_transition_time.as_ref());
        vec![
            self.namespace.clone(),
            self.name.clone(),
            self.mesh.clone(),
            counts.connected.to_string(),
            counts.healthy.to_string(),
            counts.total.to_string(),
            age(self.creation_time.as_ref(), now),
            self.labels.get(ZONE_LABEL).cloned().unwrap_or_default(),
            self.revision.to_string(),
            age(changed, now),
            self.uid.clone(),
        ]
    }

    /// `-` in place of counts, and `<deleted>` in place of the age.
    fn deleted_row(&self, now: SystemTime) -> Vec<String> {
        let replace = |(heading, cell): (&&str, String)| match *heading {
            "CONNECTED" | "HEALTHY" | "TOTAL" | "LAST-CHANGE" => "-".to_owned(),
            "AGE" => "<deleted>".to_owned(),
            _ => cell,
        };
        Self::HEADER.iter().zip(self.row(now)).map(replace).collect()
    }

    fn resource(&self) -> impl Serialize {
        let proto::DataplaneProxies { connected, healthy, total } = counts(self);
        let labels = self.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let metadata = Metadata { name: &self.name, namespace: &self.namespace, ..Metadata::default() }
            .with_labels(labels);
        WorkloadResource::new(KUMA_API, metadata, Counts { connected, healthy, total })
    }
}

/// The counts; all 0 if the response has none.
pub(crate) fn counts(workload: &proto::Workload) -> proto::DataplaneProxies {
    workload.status.as_ref().and_then(|status| status.dataplane_proxies).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{
        output::{Format, document::document},
        tests::samples,
    };

    /// The example of Kuma's documentation, with the indentation of kubectl.
    const DOCUMENTED: &str = include_str!("../../../tests/kuma-workload.yaml");

    fn demo() -> proto::Workload {
        let labels = [("kuma.io/mesh", "default"), ("kuma.io/managed-by", "k8s-controller")];
        proto::Workload {
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            ..samples::workload("demo-workload", 3)
        }
    }

    #[test]
    fn yaml_equals_the_documented_example() {
        assert_eq!(document(Format::Yaml, &demo().resource()), DOCUMENTED);
    }

    #[test]
    fn json_has_the_same_content_as_yaml() {
        let json = document(Format::Json, &demo().resource());
        assert!(
            json.starts_with("{\n    \"apiVersion\": \"kuma.io/v1alpha1\",\n    \"kind\": \"Workload\",\n"),
            "{json}"
        );
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let yaml: serde_json::Value = serde_saphyr::from_str(DOCUMENTED).unwrap();
        assert_eq!(json, yaml);
    }

    #[test]
    fn a_row_has_a_cell_for_each_heading() {
        let now = samples::now();
        let row = demo().row(now);
        assert_eq!(row.len(), proto::Workload::HEADER.len());
        assert_eq!(row[..7], ["default", "demo-workload", "default", "3", "3", "3", "5m"]);
        let deleted = demo().deleted_row(now);
        assert_eq!(deleted[..7], ["default", "demo-workload", "default", "-", "-", "-", "<deleted>"]);
    }
}
