//! `--dataplane-file`.

use std::path::PathBuf;

use clap::Args;

use super::Problems;
use crate::{agent::DataplaneFile, model::Invalid};

/// A flag that several commands have.
#[derive(Args, Debug)]
pub(in crate::cli) struct DataplaneFileArg {
    /// Kuma's Dataplane resource, as YAML
    #[arg(long, value_name = "FILE")]
    dataplane_file: PathBuf,
}

impl From<PathBuf> for DataplaneFileArg {
    /// For a command that can do without it.
    fn from(dataplane_file: PathBuf) -> Self {
        Self { dataplane_file }
    }
}

impl DataplaneFileArg {
    /// Reads the file, or notes why it is of no use.
    pub(in crate::cli) fn read(&self, problems: &mut Problems) -> Option<DataplaneFile> {
        DataplaneFile::read(&self.dataplane_file)
            .map_err(|error| problems.note("dataplane-file", &format!("{:#}", anyhow::Error::from(error))))
            .ok()
    }

    /// Takes what was made of the file, or notes which of its keys is wrong.
    pub(in crate::cli) fn take<T>(&self, made: Result<T, Invalid>, problems: &mut Problems) -> Option<T> {
        let path = self.dataplane_file.display();
        made.map_err(|invalid| problems.note("dataplane-file", &format!("{path}: {invalid}"))).ok()
    }
}
