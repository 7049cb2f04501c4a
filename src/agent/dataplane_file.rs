//! Reads Kuma's Dataplane resource in the format of Universal.
//!
//! Keys that the agent does not use (admin, outbounds, transparent proxying) are ignored, so a file
//! written for Kuma needs no change.

mod document;
mod duration;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::model::{Dataplane, DataplaneLimits, DataplaneSpec, Invalid, NAMESPACE_LABEL, ZONE_LABEL};

use super::{AGENT_VERSION, limited_file::read_limited, probe::ProbeSpec};
use document::{Document, Inbound, Networking};

/// Largest file that is read. Kuma's own examples are below 4 KiB; a larger one is a wrong path.
const MAX_BYTES: u64 = 1024 * 1024;

/// The content of a Dataplane file: the dataplane, and how to probe its application.
#[derive(Debug, Clone, PartialEq)]
pub struct DataplaneFile {
    /// The dataplane as the file states it, not yet validated. The caller may override fields before
    /// [`Self::dataplane`].
    pub spec: DataplaneSpec,
    /// One entry per inbound of `spec`, in the same order; none for an inbound without `serviceProbe`.
    pub probes: Vec<Option<ProbeSpec>>,
    /// One entry per inbound of `spec`, in the same order.
    pub applications: Vec<Application>,
}

/// Where the application behind an inbound listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// An IP address or a host name.
    pub host: String,
    /// Path of the key that states the host, or of the key to set if none does.
    pub host_key: String,
    /// 1 to 65535.
    pub port: u16,
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
    /// The text is not YAML, or a value has the wrong type.
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

    /// Parses the text of a file.
    ///
    /// # Errors
    ///
    /// If the text is not YAML, is not a Dataplane in the format of Universal, or has an invalid
    /// address, port or probe. Everything else is validated by [`Self::dataplane`].
    pub fn parse(text: &str) -> Result<Self, DataplaneFileError> {
        let document: Document = serde_saphyr::from_str(text)
            .map_err(|error| DataplaneFileError::Syntax(describe_syntax_error(text, &error)))?;
        document.check_kind()?;
        let Networking { address, advertised_address, inbound, .. } = document.networking.unwrap_or_default();
        let inbounds = inbound.unwrap_or_default();
        let (mut applications, mut probes) = (Vec::new(), Vec::new());
        for (index, inbound) in inbounds.iter().enumerate() {
            let path = format!("networking.inbound[{index}]");
            let application = inbound.application(&path, address.as_deref())?;
            probes.push(inbound.probe(&application).map_err(|invalid| invalid.within(&path))?);
            applications.push(application);
        }
        let labels = document.labels.unwrap_or_default();
        let label = |key: &str| labels.get(key).cloned().unwrap_or_default();
        let spec = DataplaneSpec {
            mesh: document.mesh.unwrap_or_default(),
            namespace: label(NAMESPACE_LABEL),
            name: document.name.unwrap_or_default(),
            zone: label(ZONE_LABEL),
            address: advertised_address.or(address).unwrap_or_default(),
            inbounds: inbounds.into_iter().map(Inbound::into_spec).collect(),
            agent_version: AGENT_VERSION.to_owned(),
            labels,
            ..DataplaneSpec::default()
        };
        Ok(Self { spec, probes, applications })
    }

    /// Validates the dataplane by the same rules as the server.
    ///
    /// # Errors
    ///
    /// If a field is invalid; the error names the key as the file writes it.
    pub fn dataplane(&self) -> Result<Dataplane, Invalid> {
        Dataplane::parse(&self.spec, DataplaneLimits::default()).map_err(|Invalid { field, problem }| {
            let field = match field.strip_prefix("inbounds") {
                Some(rest) => format!("networking.inbound{rest}"),
                None if field == "address" => "networking.address".to_owned(),
                None => field,
            };
            Invalid { field, problem }
        })
    }
}

/// Formats a syntax error. It quotes lines of the file, so control characters, which a terminal would
/// interpret, become spaces. Kuma's files may be templates; an unfilled one gets a hint.
fn describe_syntax_error(text: &str, error: &serde_saphyr::Error) -> String {
    let hint = "\nthe file holds placeholders ({{ }}): fill them in before the agent reads it";
    let printable = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let error: String = error.to_string().chars().map(printable).collect();
    format!("{error}{}", if text.contains("{{") { hint } else { "" })
}
