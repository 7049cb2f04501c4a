//! A Workload, word for word in the shape of Kuma's documentation.

use serde::Serialize;

use super::Metadata;
use crate::model::Counts;

/// The resource.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadResource<'a> {
    api_version: &'a str,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: Spec,
    status: Status,
}

/// A Workload has nothing to specify: all of it is observed.
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
    /// What kubectl calls it.
    pub const KIND: &'static str = "Workload";

    /// A Workload with these numbers.
    pub fn new(api_version: &'a str, metadata: Metadata<'a>, counts: Counts) -> Self {
        let Counts { connected, healthy, total } = counts;
        let dataplane_proxies = DataplaneProxies { connected, healthy, total };
        Self { api_version, kind: Self::KIND, metadata, spec: Spec {}, status: Status { dataplane_proxies } }
    }
}
