//! `--dataplane-file`.

use std::path::PathBuf;

use clap::Args;

use super::Problems;
use crate::{
    agent::{DataplaneFile, DataplaneFileError},
    model::Invalid,
};

/// The flag `--dataplane-file` and the problems of the file.
#[derive(Args, Debug)]
pub(in crate::cli) struct DataplaneFileArg {
    /// YAML file with the Kuma Dataplane resource of the proxy
    #[arg(long, value_name = "FILE")]
    dataplane_file: PathBuf,
}

impl From<PathBuf> for DataplaneFileArg {
    /// For commands in which the flag is optional.
    fn from(dataplane_file: PathBuf) -> Self {
        Self { dataplane_file }
    }
}

impl DataplaneFileArg {
    /// Reads and parses the file; adds an error to `problems`.
    pub(in crate::cli) fn read(&self, problems: &mut Problems) -> Option<DataplaneFile> {
        let path = self.dataplane_file.display();
        DataplaneFile::read(&self.dataplane_file)
            .map_err(|error| {
                let names_path =
                    matches!(error, DataplaneFileError::Unreadable { .. } | DataplaneFileError::TooLarge(_));
                let error = format!("{:#}", anyhow::Error::from(error));
                let error = if names_path { error } else { format!("{path}: {error}") };
                problems.note("dataplane-file", &error);
            })
            .ok()
    }

    /// The warnings about a file, with its path.
    pub(in crate::cli) fn warnings(&self, file: &DataplaneFile) -> Vec<String> {
        let path = self.dataplane_file.display();
        file.warnings.iter().map(|warning| format!("{path}: {warning}")).collect()
    }

    /// Returns a value made from the file's content; adds an error to `problems`, with the
    /// path of the file and the invalid key.
    pub(in crate::cli) fn take<T>(
        &self,
        converted: Result<T, Invalid>,
        problems: &mut Problems,
    ) -> Option<T> {
        let path = self.dataplane_file.display();
        converted.map_err(|invalid| problems.note("dataplane-file", &format!("{path}: {invalid}"))).ok()
    }
}
