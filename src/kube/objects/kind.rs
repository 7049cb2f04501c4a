//! Kinds of objects: how the API names them, and the columns of their tables.

use serde::Serialize;

/// A kind of objects.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Such as `kuma.io`; empty for the core group.
    pub(crate) group: String,
    /// Such as `v1alpha1`.
    pub(crate) version: &'static str,
    /// Group and version, or the version alone in the core group.
    pub(crate) api_version: String,
    /// Such as `Workload`.
    pub(crate) name: &'static str,
    /// Such as `workloads`.
    pub(crate) plural: &'static str,
    pub(crate) columns: &'static [Column],
}

/// A column of a table.
#[derive(Debug, Serialize)]
pub(crate) struct Column {
    name: &'static str,
    r#type: &'static str,
    format: &'static str,
    description: &'static str,
    /// kubectl always prints columns of priority 0, and others with `-o wide`.
    priority: u8,
}

impl Column {
    pub(crate) const fn text(name: &'static str, description: &'static str) -> Self {
        Self { name, r#type: "string", format: "", description, priority: 0 }
    }

    pub(crate) const fn name(description: &'static str) -> Self {
        Self { format: "name", ..Self::text("Name", description) }
    }

    pub(crate) const fn number(name: &'static str, description: &'static str) -> Self {
        Self { r#type: "integer", format: "int32", ..Self::text(name, description) }
    }

    #[must_use]
    pub(crate) const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }
}
