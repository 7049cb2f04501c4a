//! The templates of trust domains and paths: a part of Go's text/template.
//!
//! A template consists of text, fields (`{{ .Workload }}`), labels (`{{ label "team" }}`), string constants,
//! `print` and `printf` with `%s` and `%v`, pipes and parentheses. Everything else is refused when the
//! template is parsed, so rendering fails for a missing label only, and what a template depends on is known.

mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::model::WORKLOAD_LABEL;

/// A template that was parsed. It can be compared by its text, which is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    source: Box<str>,
    parts: Vec<Part>,
}

/// What a template may refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A trust domain: `.Mesh`, `.Zone`, and the labels of the `MeshIdentity`.
    TrustDomain,
    /// A path: `.TrustDomain`, `.Namespace`, `.ServiceAccount`, `.Workload`, and the labels of the dataplane.
    Path,
}

/// A field of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Mesh,
    Zone,
    TrustDomain,
    Namespace,
    ServiceAccount,
    Workload,
}

/// A part of the rendered text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Field(Field),
    Label(Box<str>),
}

/// What the parts of a template are replaced by.
pub(super) trait Values {
    /// The value of a field, which is empty if there is none.
    fn field(&self, field: Field) -> &str;
    /// The value of a label.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Scope {
    fn fields(self) -> &'static [Field] {
        match self {
            Self::TrustDomain => &[Field::Mesh, Field::Zone],
            Self::Path => &[Field::TrustDomain, Field::Namespace, Field::ServiceAccount, Field::Workload],
        }
    }
}

impl Field {
    fn name(self) -> &'static str {
        match self {
            Self::Mesh => "Mesh",
            Self::Zone => "Zone",
            Self::TrustDomain => "TrustDomain",
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Workload => "Workload",
        }
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// If the template is invalid, or uses anything that a template of this scope may not use: a message
    /// with the position in Go's notation, such as `template: :1:15: ...` for byte 15 of line 1.
    pub fn parse(source: &str, scope: Scope) -> Result<Self, String> {
        Ok(Self { source: source.into(), parts: parse::parse(source, scope)? })
    }

    /// Whether the rendered text depends on the workload of the dataplane.
    pub fn uses_workload(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Text(_) => false,
            Part::Field(field) => *field == Field::Workload,
            Part::Label(key) => **key == *WORKLOAD_LABEL,
        })
    }

    /// The text that was parsed.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders the template.
    ///
    /// # Errors
    ///
    /// If a label is missing: its key.
    pub(super) fn render(&self, values: &impl Values) -> Result<String, &str> {
        let mut text = String::with_capacity(self.source.len());
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(constant) => constant,
                Part::Field(field) => values.field(*field),
                Part::Label(key) => values.label(key).ok_or(&**key)?,
            });
        }
        Ok(text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}
