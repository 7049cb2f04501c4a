//! Health of a proxy and its inbounds.

/// What is known about a proxy or an inbound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthState {
    /// Nobody has said yet; counts as not ready.
    #[default]
    Unknown,
    /// Ready to serve.
    Ready,
    /// Known not to be ready.
    NotReady,
}

/// The whole health of one dataplane at one time. An inbound is named by its
/// place in the hello, one bit each, which is why a dataplane has at most
/// [`Health::MAX_INBOUNDS`] of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Of the proxy itself.
    pub proxy: HealthState,
    /// Inbounds that are ready.
    ready: u64,
    /// Inbounds that are known not to be.
    not_ready: u64,
}

/// A numbered statement of health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthReport {
    /// Grows within a session.
    pub sequence: u64,
    /// The whole health.
    pub health: Health,
}

impl Health {
    /// As many as there are bits.
    pub const MAX_INBOUNDS: usize = u64::BITS as usize;

    /// Health of a proxy of whose inbounds nothing is known.
    pub fn of_proxy(proxy: HealthState) -> Self {
        Self { proxy, ready: 0, not_ready: 0 }
    }

    /// From the sets of inbounds, as [`Self::bits`] gives them.
    pub fn from_bits(proxy: HealthState, ready: u64, not_ready: u64) -> Self {
        Self { proxy, ready: ready & !not_ready, not_ready }
    }

    /// The sets of inbounds that are ready, and that are known not to be.
    pub fn bits(self) -> (u64, u64) {
        (self.ready, self.not_ready)
    }

    /// States the health of the inbound at a place.
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

    /// The health of the inbound at a place.
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

    /// Whether a connected dataplane with this health counts as healthy: its
    /// proxy is ready and so is at least one inbound. A gateway has none, so
    /// there the proxy decides alone (Kuma never calls one healthy).
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
    fn healthy_needs_the_proxy_and_one_inbound() {
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
    fn the_last_statement_about_an_inbound_holds() {
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
