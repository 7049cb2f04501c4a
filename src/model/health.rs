//! Health of a proxy and its inbounds.

/// The health of a proxy or an inbound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthState {
    /// Not reported yet; counts as not ready.
    #[default]
    Unknown,
    /// Reported ready.
    Ready,
    /// Reported not ready.
    NotReady,
}

/// The health of a dataplane and all of its inbounds. An inbound is a bit, at its index in
/// the hello, so a dataplane has at most [`Health::MAX_INBOUNDS`] of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Health of the proxy itself.
    pub proxy: HealthState,
    /// Bits of the inbounds that are ready.
    ready: u64,
    /// Bits of the inbounds that are not ready.
    not_ready: u64,
}

/// A health report of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthReport {
    /// Sequence number, which increases within a session.
    pub sequence: u64,
    /// Health of the dataplane and all of its inbounds.
    pub health: Health,
}

impl Health {
    /// Largest number of inbounds: one for each bit of a `u64`.
    pub const MAX_INBOUNDS: usize = u64::BITS as usize;

    /// Health of a proxy whose inbounds are all unknown.
    pub fn of_proxy(proxy: HealthState) -> Self {
        Self { proxy, ready: 0, not_ready: 0 }
    }

    /// Creates a health from sets of inbounds as [`Self::bits`] returns them.
    pub fn from_bits(proxy: HealthState, ready: u64, not_ready: u64) -> Self {
        Self { proxy, ready: ready & !not_ready, not_ready }
    }

    /// Returns the inbounds that are ready and those that are not ready, a bit for each.
    pub fn bits(self) -> (u64, u64) {
        (self.ready, self.not_ready)
    }

    /// Sets the health of the inbound at an index below [`Self::MAX_INBOUNDS`].
    pub fn set_inbound(&mut self, index: usize, state: HealthState) {
        let bit = 1 << index;
        self.ready &= !bit;
        self.not_ready &= !bit;
        match state {
            HealthState::Unknown => {}
            HealthState::Ready => self.ready |= bit,
            HealthState::NotReady => self.not_ready |= bit,
        }
    }

    /// Returns the health of the inbound at an index below [`Self::MAX_INBOUNDS`].
    pub fn inbound(self, index: usize) -> HealthState {
        let bit = 1 << index;
        if self.ready & bit != 0 {
            HealthState::Ready
        } else if self.not_ready & bit != 0 {
            HealthState::NotReady
        } else {
            HealthState::Unknown
        }
    }

    /// Whether a connected dataplane with this health counts as healthy: the proxy and at least
    /// one inbound are ready. A gateway has no inbounds, so its proxy alone decides. (Kuma never
    /// counts a gateway as healthy.)
    pub fn is_healthy(self, gateway: bool) -> bool {
        self.proxy == HealthState::Ready && (gateway || self.ready != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HealthState::{NotReady, Ready, Unknown};

    fn health(proxy: HealthState, inbounds: &[HealthState]) -> Health {
        let mut health = Health::of_proxy(proxy);
        for (index, state) in inbounds.iter().enumerate() {
            health.set_inbound(index, *state);
        }
        health
    }

    #[test]
    fn a_healthy_dataplane_has_a_ready_proxy_and_a_ready_inbound() {
        let cases: [(HealthState, &[HealthState], bool); 8] = [
            (Ready, &[Ready, NotReady], true),
            (Ready, &[NotReady, Unknown], false),
            (Ready, &[Unknown], false),
            (NotReady, &[Ready], false),
            (Unknown, &[Ready], false),
            (Ready, &[], true),
            (NotReady, &[], false),
            (Unknown, &[], false),
        ];
        for (proxy, inbounds, healthy) in cases {
            assert_eq!(
                health(proxy, inbounds).is_healthy(inbounds.is_empty()),
                healthy,
                "{proxy:?} {inbounds:?}"
            );
        }
    }

    #[test]
    fn setting_an_inbound_replaces_its_state() {
        let mut health = Health::of_proxy(Ready);
        for state in [Ready, NotReady, Unknown, Ready] {
            health.set_inbound(63, state);
            assert_eq!(health.inbound(63), state);
            assert_eq!(health.inbound(62), Unknown);
        }
        let (ready, not_ready) = health.bits();
        assert_eq!(Health::from_bits(Ready, ready, not_ready), health);
    }
}
