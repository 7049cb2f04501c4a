//! Reads Kuma's Dataplane resource.
//!
//! Keys that the agent does not use (outbounds, transparent proxying) are ignored, so a file written
//! for Kuma needs no change. A key that Kuma does not have is reported as a warning.

#[cfg(test)]
mod corpus;
mod document;
mod fold;
mod inbound;
mod keys;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    convert::document::YamlMap,
    model::{
        Dataplane, DataplaneLimits, DataplaneSpec, Invalid, NAMESPACE_LABEL, WORKLOAD_LABEL, ZONE_LABEL,
        entry, placeholder,
    },
    runtime::limited_file::read_limited,
};

pub use self::{fold::FileInbound, inbound::Application};
use super::monitor::InboundProbe;

/// Largest file that is read. Kuma's own examples are below 4 KiB; a larger one is a wrong path.
const MAX_BYTES: u64 = 1024 * 1024;

/// The content of a Dataplane file: the dataplane, and how the health of its inbounds is determined.
#[derive(Debug, Clone, PartialEq)]
pub struct DataplaneFile {
    /// The dataplane as the file states it, not yet validated. The caller may override fields before
    /// [`Self::dataplane`].
    pub spec: DataplaneSpec,
    /// One entry per inbound of `spec`, in the same order.
    pub inbounds: Vec<FileInbound>,
    /// False if the document states that a zone proxy is not ready.
    pub proxy_may_be_ready: bool,
    /// `networking.admin.port`: the port of Envoy's admin interface.
    pub admin_port: Option<u16>,
    /// Warnings about keys that Kuma does not have, with their paths. At most 21.
    pub warnings: Vec<String>,
    paths: Paths,
}

/// The paths of fields in a document, for errors.
#[derive(Debug, Clone, PartialEq)]
struct Paths {
    /// `metadata` in the format of Kubernetes.
    parent: &'static str,
    address: String,
    workload_is_annotation: bool,
}

/// Why a Dataplane file was rejected.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneFileError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is larger than 1 MiB.
    #[error("{} has more than {MAX_BYTES} bytes: give the path of a Dataplane file", .0.display())]
    TooLarge(PathBuf),
    /// The text is not YAML, or not one document.
    #[error("{0}")]
    Syntax(String),
    /// A value breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl DataplaneFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// If the file can't be read, is larger than 1 MiB, or is rejected by [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self, DataplaneFileError> {
        let unreadable = |source| DataplaneFileError::Unreadable { path: path.to_owned(), source };
        let text = read_limited(path, MAX_BYTES).map_err(unreadable)?;
        Self::parse(&text.ok_or_else(|| DataplaneFileError::TooLarge(path.to_owned()))?)
    }

    /// Parses the text of a file. Empty YAML documents in it are skipped.
    ///
    /// # Errors
    ///
    /// If the text is not YAML, is not one Dataplane, or has an invalid address, port or probe.
    /// Everything else is validated by [`Self::dataplane`].
    pub fn parse(text: &str) -> Result<Self, DataplaneFileError> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(text)
            .map_err(|error| DataplaneFileError::Syntax(describe_syntax_error(text, &error)))?;
        let documents: Vec<_> = documents.iter().filter(|document| !document.is_null()).collect();
        match documents[..] {
            [Value::Object(root)] => Ok(Self::from_document(&YamlMap::root("Dataplane", root))?),
            [_] => Err(DataplaneFileError::Syntax(
                "is not a Dataplane: write type: Dataplane, mesh, name and networking".to_owned(),
            )),
            [] => Err(DataplaneFileError::Syntax(
                "is empty: write type: Dataplane, mesh, name and networking".to_owned(),
            )),
            _ => Err(DataplaneFileError::Syntax(format!(
                "has {} documents: keep one Dataplane, each proxy needs a file and an agent of its own",
                documents.len()
            ))),
        }
    }

    /// Validates the dataplane by the rules of the protocol; further limits are the server's to apply.
    ///
    /// # Errors
    ///
    /// If a field is invalid; the error names the key as the file writes it.
    pub fn dataplane(&self) -> Result<Dataplane, Invalid> {
        Dataplane::parse(&self.spec, DataplaneLimits::PROTOCOL).map_err(|invalid| self.locate(invalid))
    }

    /// How the health of each inbound is determined.
    pub fn inbound_probes(&self) -> Vec<InboundProbe> {
        self.inbounds.iter().map(FileInbound::probe).collect()
    }

    /// Replaces the field of an error, and fields that its problem names, by keys of the file.
    fn locate(&self, Invalid { field, problem }: Invalid) -> Invalid {
        let mut problem = problem;
        for (index, inbound) in self.inbounds.iter().enumerate() {
            problem = problem.replace(&format!("inbounds[{index}]"), &inbound.path);
        }
        let inbound = self.inbounds.iter().enumerate().find_map(|(index, inbound)| {
            Some(format!("{}{}", inbound.path, field.strip_prefix(&format!("inbounds[{index}]"))?))
        });
        let Paths { parent, address, workload_is_annotation } = &self.paths;
        let within =
            |field: &str| if parent.is_empty() { field.to_owned() } else { format!("{parent}.{field}") };
        let field = match field.as_str() {
            "address" => address.clone(),
            "name" => within("name"),
            "namespace" if !parent.is_empty() => within("namespace"),
            "namespace" => entry("labels", NAMESPACE_LABEL),
            "zone" => within(&entry("labels", ZONE_LABEL)),
            label if *workload_is_annotation && label == entry("labels", WORKLOAD_LABEL) => {
                within(&entry("annotations", WORKLOAD_LABEL))
            }
            label if label.starts_with("labels") => within(label),
            "inbounds" => "networking.inbound".to_owned(),
            other => inbound.unwrap_or_else(|| other.to_owned()),
        };
        Invalid { field, problem }
    }
}

impl FileInbound {
    fn probe(&self) -> InboundProbe {
        if !self.may_be_ready {
            return InboundProbe::NotReady;
        }
        let probes: Option<Vec<_>> =
            self.applications.iter().map(|application| application.probe.clone()).collect();
        probes.map_or(InboundProbe::Proxy, InboundProbe::Applications)
    }
}

impl Paths {
    fn universal() -> Self {
        Self { parent: "", address: String::new(), workload_is_annotation: false }
    }

    fn kubernetes() -> Self {
        Self { parent: "metadata", ..Self::universal() }
    }
}

/// Formats a syntax error. It quotes lines of the file, so control characters, which a terminal would
/// interpret, become spaces. Kuma's files may be templates; an unfilled one gets a hint.
fn describe_syntax_error(text: &str, error: &serde_saphyr::Error) -> String {
    let printable = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let error: String = error.to_string().chars().map(printable).collect();
    let hint = if placeholder(text).is_some() {
        "\nthe file holds placeholders, such as {{ }} or ${ }: fill them in before the agent reads it"
    } else {
        ""
    };
    format!("{error}{hint}")
}
