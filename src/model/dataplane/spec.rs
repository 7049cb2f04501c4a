//! Dataplanes before validation.

use std::collections::BTreeMap;

use super::Environment;
use crate::model::Health;

/// A dataplane before validation, as a hello, a Dataplane file or an Envoy's node states it.
/// [`Dataplane::parse`](super::Dataplane::parse) validates it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataplaneSpec {
    /// Required.
    pub mesh: String,
    /// Empty means `default`.
    pub namespace: String,
    /// Required.
    pub name: String,
    /// May be empty.
    pub zone: String,
    /// Selects the rules for the workload's name.
    pub environment: Environment,
    /// Labels, by Kubernetes' rules.
    pub labels: BTreeMap<String, String>,
    /// May be empty.
    pub address: String,
    /// Inbounds with distinct ports.
    pub inbounds: Vec<InboundSpec>,
    /// May be empty.
    pub agent_version: String,
}

/// An inbound before validation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundSpec {
    /// 1 to 65535.
    pub port: u32,
    /// May be empty.
    pub name: String,
    /// Tags, by Kuma's rules.
    pub tags: BTreeMap<String, String>,
}

/// Limits of the size of one dataplane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataplaneLimits {
    /// Labels of the dataplane, and tags of each inbound.
    pub labels: usize,
    /// Inbounds, at most [`Health::MAX_INBOUNDS`].
    pub inbounds: usize,
}

impl Default for DataplaneLimits {
    /// 64 labels, four times those of a busy Pod, and 64 inbounds, one for each bit of a `u64`.
    fn default() -> Self {
        Self { labels: 64, inbounds: Health::MAX_INBOUNDS }
    }
}
