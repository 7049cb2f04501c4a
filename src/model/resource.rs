//! Resources that operators write.

use std::fmt;

use super::{Invalid, Namespace, ResourceName};

/// Identifies a resource that operators write, among those of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceKey {
    /// The namespace; `default` for a resource that names none.
    pub namespace: Namespace,
    /// The name.
    pub name: ResourceName,
}

impl ResourceKey {
    /// Parses the fields `namespace` and `name`.
    ///
    /// # Errors
    ///
    /// If one is invalid.
    pub fn parse(namespace: &str, name: &str) -> Result<Self, Invalid> {
        Ok(Self {
            namespace: Namespace::parse("namespace", namespace)?,
            name: ResourceName::parse("name", name)?,
        })
    }
}

impl fmt::Display for ResourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
