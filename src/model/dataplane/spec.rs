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
    /// Empty means that of the label `k8s.kuma.io/namespace`, or else `default`.
    pub namespace: String,
    /// Required.
    pub name: String,
    /// Empty means that of the label `kuma.io/zone`, if any.
    pub zone: String,
    /// Selects the rules for the workload's name.
    pub environment: Environment,
    /// Labels, by Kubernetes' rules.
    pub labels: BTreeMap<String, String>,
    /// An IP address or a DNS name; may be empty.
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
    /// Tags of all inbounds together. Each takes about a hundred bytes while the dataplane is
    /// registered.
    pub all_tags: usize,
}

impl DataplaneLimits {
    /// The limits of the protocol itself, for clients: all others are the server's to apply.
    pub const PROTOCOL: Self =
        Self { labels: usize::MAX, inbounds: Health::MAX_INBOUNDS, all_tags: usize::MAX };
}

impl Default for DataplaneLimits {
    /// 64 labels, four times those of a busy Pod; 64 inbounds, one for each bit of a `u64`; and
    /// eight tags for each of these, twice what Kuma itself sets.
    fn default() -> Self {
        Self { labels: 64, inbounds: Health::MAX_INBOUNDS, all_tags: 512 }
    }
}
