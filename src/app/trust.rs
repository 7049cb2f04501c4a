//! What the server trusts: loaded at the start, and again when files change.

use std::{
    future::{Future, pending},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;

use crate::{
    access::Access,
    authentication::{AccessFile, Trust},
    config::Config,
    net::tls::{PemFile, Reloading},
};

/// Time between two checks of the access file: a right that it takes away ends within a second.
const RELOAD_INTERVAL: Duration = Duration::from_millis(500);

/// Loads the access file. Returns what the server trusts, and the task that reloads it and ends
/// calls whose right has ended; the task never ends.
///
/// # Errors
///
/// If the access file can't be read or is invalid.
pub(super) fn load(config: &Config) -> anyhow::Result<(Trust, impl Future<Output = ()> + Send + use<>)> {
    let file = config.access_file.as_ref().map(|path| PemFile::new("access-file", path));
    let file = file.map(|file| Reloading::load([file], parse)).transpose()?;
    let current = file.as_ref().map(Reloading::current);
    let policy = current.as_ref().map(|file| file.get().policy.clone()).unwrap_or_default();
    let access = Access::new(policy, SystemTime::now);
    let trust = Trust { access: access.clone(), file: current, authority: None };
    let task = async move {
        let reload = async {
            match file {
                // It also checks the certificates of live calls again, by the new rules.
                Some(file) => {
                    file.run_then(RELOAD_INTERVAL, |new| access.set_policy(new.policy.clone())).await;
                }
                None => pending().await,
            }
        };
        tokio::join!(reload, access.run());
    };
    Ok((trust, task))
}

fn parse([(file, text)]: [(&PemFile, &Vec<u8>); 1]) -> anyhow::Result<AccessFile> {
    AccessFile::parse(text).with_context(|| file.source())
}
