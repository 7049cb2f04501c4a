//! What the server trusts: loaded at the start, and again when files change.

use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::{
    access::Access,
    authentication::{AccessFile, Trust},
    config::Config,
    net::tls::{PemFile, Reloading, authority as authority_of},
};

/// Time between two checks of the access file: a right that it takes away ends within a second.
const RELOAD_INTERVAL: Duration = Duration::from_millis(500);

/// Loads the access file and the CAs of client certificates. Tasks reload them, and end calls whose
/// right has ended.
///
/// # Errors
///
/// If a file can't be read or is invalid.
pub(super) fn load(config: &Config, tasks: &mut JoinSet<()>) -> anyhow::Result<Trust> {
    let file = config.access_file.as_ref().map(|path| PemFile::new("access-file", path));
    let file = file.map(|file| Reloading::load([file], parse)).transpose()?;
    let policy = file.as_ref().map(|file| file.current().get().policy.clone()).unwrap_or_default();
    let access = Access::new(policy, SystemTime::now);
    let authority = config.tls.client_ca_file.as_ref().map(|path| PemFile::new("tls-client-ca-file", path));
    let authority = authority.map(|file| Reloading::load([file], authority_of)).transpose()?;
    let trust = Trust {
        access: access.clone(),
        file: file.as_ref().map(Reloading::current),
        authority: authority.as_ref().map(Reloading::current),
    };
    if let Some(file) = file {
        let access = access.clone();
        // It also checks the certificates of live calls again, by the new rules.
        tasks.spawn(file.run_then(RELOAD_INTERVAL, move |new| access.set_policy(new.policy.clone())));
    }
    if let Some(authority) = authority {
        let access = access.clone();
        tasks.spawn(authority.run_then(config.tls.reload_interval, move |_| access.recheck()));
    }
    tasks.spawn(async move { access.run().await });
    Ok(trust)
}

fn parse([(file, text)]: [(&PemFile, &Vec<u8>); 1]) -> anyhow::Result<AccessFile> {
    AccessFile::parse(text).with_context(|| file.source())
}
