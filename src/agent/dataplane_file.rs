//! Reads Kuma's Dataplane resource as it is written on Universal. What the
//! agent has no use for (admin, outbounds, transparent proxying) is skipped, so
//! a file that Kuma takes needs no change.

mod document;
mod duration;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::model::{Dataplane, DataplaneLimits, DataplaneSpec, Invalid, NAMESPACE_LABEL, ZONE_LABEL};

use super::{AGENT_VERSION, file::read_at_most, probe::ProbeSpec};
use document::{Document, Inbound, Networking};

/// The largest file that is read. Kuma's own examples have below 4 KiB; a
/// larger one is a wrong path.
const MAX_BYTES: u64 = 1024 * 1024;

/// A Dataplane file: who the proxy is, and how to probe what is behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct DataplaneFile {
    /// As stated. The caller may override fields before [`Self::dataplane`].
    pub spec: DataplaneSpec,
    /// One for each inbound of `spec`, in their order; none where the file has
    /// no `serviceProbe`.
    pub probes: Vec<Option<ProbeSpec>>,
    /// One for each inbound of `spec`, in their order.
    pub applications: Vec<Application>,
}

/// Where the application behind an inbound listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// An address or a host name.
    pub host: String,
    /// The key that says the host, or would.
    pub host_key: String,
    /// Never 0.
    pub port: u16,
}

/// Why a Dataplane file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneFileError {
    /// It can't be read.
    #[error("can't read {}", path.display())]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no Dataplane file.
    #[error("{} has more than {MAX_BYTES} bytes: give the path of a Dataplane file", .0.display())]
    TooLarge(PathBuf),
    /// It is no YAML, or a value has the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A value breaks a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl DataplaneFile {
    /// Reads the file at `path`, which has at most 1 MiB.
    pub fn read(path: &Path) -> Result<Self, DataplaneFileError> {
        let unreadable = |source| DataplaneFileError::Unreadable { path: path.to_owned(), source };
        let text = read_at_most(path, MAX_BYTES).map_err(unreadable)?;
        Self::parse(&text.ok_or_else(|| DataplaneFileError::TooLarge(path.to_owned()))?)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, DataplaneFileError> {
        let document: Document = serde_saphyr::from_str(text)
            .map_err(|error| DataplaneFileError::Syntax(explain(text, &error)))?;
        document.check_form()?;
        let Networking { address, advertised_address, inbound, .. } = document.networking.unwrap_or_default();
        let inbounds = inbound.unwrap_or_default();
        let (mut applications, mut probes) = (Vec::new(), Vec::new());
        for (index, inbound) in inbounds.iter().enumerate() {
            let path = inbound_path(index);
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

    /// Checks the statement by the rules that the server has as well. The
    /// error names the key as the file writes it.
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

fn inbound_path(index: usize) -> String {
    format!("networking.inbound[{index}]")
}

/// Kuma's files may be templates, which are filled in before they are YAML. The
/// error quotes lines of the file, and some of them as they are: what a terminal
/// would obey is left out.
fn explain(text: &str, error: &serde_saphyr::Error) -> String {
    let hint = "\nthe file holds placeholders ({{ }}): fill them in before the agent reads it";
    let harmless = |c: char| if c.is_control() && c != '\n' { ' ' } else { c };
    let error: String = error.to_string().chars().map(harmless).collect();
    format!("{error}{}", if text.contains("{{") { hint } else { "" })
}
