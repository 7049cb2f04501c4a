//! The Workload resource, in the shape of Kuma's documentation.

use serde::Serialize;

use super::Metadata;
use crate::model::Counts;

/// A Workload in the shape of the resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadResource<'a> {
    api_version: &'a str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec,
    status: Status,
}

/// Always empty: a Workload is observed, not specified.
#[derive(Debug, Serialize)]
struct Spec {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    dataplane_proxies: DataplaneProxies,
}

#[derive(Debug, Serialize)]
struct DataplaneProxies {
    connected: u32,
    healthy: u32,
    total: u32,
}

impl<'a> WorkloadResource<'a> {
    /// The kind.
    pub const KIND: &'static str = "Workload";

    /// Creates a Workload with these counts.
    pub fn new(api_version: &'a str, metadata: Metadata<'a>, counts: Counts) -> Self {
        let Counts { connected, healthy, total } = counts;
        let dataplane_proxies = DataplaneProxies { connected, healthy, total };
        Self { api_version, kind: Self::KIND, metadata, spec: Spec {}, status: Status { dataplane_proxies } }
    }
}
