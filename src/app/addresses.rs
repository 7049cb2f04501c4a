//! The bound addresses, and the file that reports them.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
};

use anyhow::Context as _;
use serde::Serialize;
use tracing::info;

/// The addresses that the listeners are bound to, with the port that the system chose for
/// port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The gRPC server.
    pub grpc: SocketAddr,
    /// The HTTP server.
    pub http: SocketAddr,
    /// The Kubernetes API, if it is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kube: Option<SocketAddr>,
}

impl Addresses {
    /// Logs that the server accepts connections.
    pub(super) fn log(self, epoch: &str) {
        let kube = self.kube.map(tracing::field::display);
        info!(grpc = %self.grpc, http = %self.http, kube, epoch, "serving");
    }

    /// Writes the addresses to a file as JSON, atomically: a program that waits for the file
    /// never reads half of it.
    pub(super) fn write(self, path: &Path) -> anyhow::Result<()> {
        let write = || -> anyhow::Result<()> {
            let mut name = path.file_name().context("it names no file")?.to_owned();
            name.push(format!(".{}.tmp", std::process::id()));
            let temporary = path.with_file_name(name);
            let text = serde_json::to_vec(&self)?;
            // In a container a killed server may have left one with the same process id.
            let _absent = fs::remove_file(&temporary);
            let written = File::create_new(&temporary).and_then(|mut file| file.write_all(&text));
            let written = written.and_then(|()| fs::rename(&temporary, path));
            if written.is_err() {
                // Best effort: the error to report is the one above.
                let _removed = fs::remove_file(&temporary);
            }
            Ok(written?)
        };
        write().with_context(|| error_context(path))
    }
}

/// Removes the file of an earlier server, whose addresses would mislead a program that waits
/// for the file.
pub(super) fn remove_stale(path: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(old) if !old.is_file() => {
            Err(anyhow::anyhow!("the path exists and is not a regular file").context(error_context(path)))
        }
        _ => fs::remove_file(path).with_context(|| error_context(path)),
    }
}

fn error_context(path: &Path) -> String {
    format!("can't write the addresses to {}: check --addresses-file", path.display())
}
