//! How much memory a dataplane takes.

use std::mem::size_of;

use super::{Dataplane, Inbound};
use crate::model::Labels;

/// Bytes before the value of an `Arc`: two counters.
const ARC_HEADER: usize = 2 * size_of::<usize>();

/// The bytes that the allocator uses for a value of this size: glibc and most others add at
/// most 8 bytes, round up to 16, and use at least 32.
fn allocation(bytes: usize) -> usize {
    bytes.saturating_add(8).next_multiple_of(16).max(32)
}

/// The bytes of a value behind an `Arc`.
pub(crate) fn shared_allocation(bytes: usize) -> usize {
    allocation(ARC_HEADER + bytes)
}

impl Dataplane {
    /// The bytes of memory that the dataplane takes behind an `Arc`. Strings that it
    /// shares with others ([`Dataplane::share`]) count in full, so the number depends on
    /// its content alone, and the sum of several dataplanes is at least what they take.
    pub fn memory(&self) -> usize {
        let text = |text: &str| shared_allocation(text.len());
        let key = &self.key;
        let names = text(key.mesh.as_str()) + text(key.namespace.as_str()) + text(key.name.as_str());
        let zone = self.zone.as_ref().map_or(0, |zone| text(zone.as_str()));
        let workload = self.workload.as_ref().map_or(0, |workload| text(workload.as_str()));
        let inbounds: usize = self.inbounds.iter().map(|it| text(&it.name) + labels(&it.tags)).sum();
        shared_allocation(size_of::<Self>())
            + names
            + zone
            + workload
            + labels(&self.labels)
            + allocation(self.address.len())
            + shared_allocation(self.inbounds.len() * size_of::<Inbound>())
            + inbounds
            + text(&self.agent_version)
    }
}

fn labels(labels: &Labels) -> usize {
    /// Two pointers with a length each.
    const ENTRY: usize = 4 * size_of::<usize>();
    let texts: usize =
        labels.iter().map(|(key, value)| shared_allocation(key.len()) + shared_allocation(value.len())).sum();
    shared_allocation(labels.iter().count() * ENTRY) + texts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::model::{Dataplane, DataplaneLimits, DataplaneSpec, InboundSpec};

    fn memory(change: impl FnOnce(&mut DataplaneSpec)) -> usize {
        let mut spec =
            DataplaneSpec { mesh: "default".into(), name: "web-1".into(), ..DataplaneSpec::default() };
        change(&mut spec);
        Dataplane::parse(&spec, DataplaneLimits::default()).unwrap().memory()
    }

    #[test]
    fn every_part_counts() {
        let least = memory(|_| ());
        let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let inbound = |tags| vec![InboundSpec { port: 80, name: "x".repeat(50), tags }];
        let grown = |change: fn(&mut DataplaneSpec), by: usize| memory(change) >= least + by;
        assert!(grown(|spec| spec.name = "x".repeat(63), 48));
        assert!(grown(|spec| spec.mesh = "x".repeat(63), 48));
        assert!(grown(|spec| spec.namespace = "x".repeat(63), 48));
        assert!(grown(|spec| spec.zone = "x".repeat(63), 63));
        assert!(grown(|spec| spec.address = ["x"; 100].join("."), 150));
        assert!(grown(|spec| spec.agent_version = "x".repeat(64), 48));
        assert!(memory(|spec| spec.labels = map("key", &"x".repeat(63))) >= least + 3 + 63 + 64);
        let named = memory(|spec| spec.inbounds = inbound(BTreeMap::new()));
        assert!(named >= least + 50 + 40);
        assert!(memory(|spec| spec.inbounds = inbound(map("k", &"x".repeat(200)))) >= named + 200 + 64);
    }

    #[test]
    fn sharing_changes_nothing() {
        let spec = DataplaneSpec { mesh: "default".into(), name: "a".into(), ..DataplaneSpec::default() };
        let other = Dataplane::parse(&spec, DataplaneLimits::default()).unwrap();
        let mut dataplane = other.clone();
        let before = dataplane.memory();
        dataplane.share(&other);
        assert_eq!(dataplane.memory(), before);
    }
}
