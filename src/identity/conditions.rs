//! The state of a `MeshIdentity`, with Kuma's types, reasons and messages.

use super::{MeshIdentity, Provider};

/// One aspect of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// The type, such as `Ready`.
    pub kind: &'static str,
    /// Whether the status is `True` or `False`.
    pub holds: bool,
    /// The reason in one word.
    pub reason: &'static str,
    /// Details for people.
    pub message: &'static str,
}

impl MeshIdentity {
    /// The state. A server gives SPIFFE IDs, and issues no certificates.
    pub fn conditions(&self) -> Vec<Condition> {
        match &self.spec.provider {
            Provider::None => vec![
                Condition {
                    kind: "SpiffeIDProvider",
                    holds: true,
                    reason: "SpiffeIDProvided",
                    message: "Providing only SpiffeIDs for services.",
                },
                Condition {
                    kind: "Ready",
                    holds: false,
                    reason: "PartiallyReady",
                    message: "Running in SpiffeID providing only mode.",
                },
            ],
            Provider::Bundled(_) | Provider::Spire | Provider::Extension(_) => vec![
                Condition {
                    kind: "Provider",
                    holds: false,
                    reason: "ProviderNotFoundError",
                    message: "this server gives SPIFFE IDs, and issues no certificates",
                },
                Condition {
                    kind: "Ready",
                    holds: false,
                    reason: "Failure",
                    message: "One of initialization steps failed",
                },
            ],
        }
    }
}
