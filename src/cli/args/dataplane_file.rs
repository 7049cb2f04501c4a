//! `--dataplane-file`.

use std::path::PathBuf;

use clap::Args;

use super::Problems;
use crate::{agent::DataplaneFile, model::Invalid};

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
        DataplaneFile::read(&self.dataplane_file)
            .map_err(|error| problems.note("dataplane-file", &format!("{:#}", anyhow::Error::from(error))))
            .ok()
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
