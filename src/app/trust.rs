//! What the server trusts: loaded at the start, and again when files change.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};
use tracing::warn;

use crate::{
    access::Access,
    authentication::{AccessFile, ServiceAccountSettings, ServiceAccounts, Trust},
    config::Config,
    net::tls::{Current, PemFile, Reloading, authority as authority_of},
    persistence::tokens::TokenKeys,
    store::Store,
    telemetry::metrics::ServiceAccountMetrics,
};

/// Time between two checks of the access file: a right that it takes away ends within a second.
const RELOAD_INTERVAL: Duration = Duration::from_millis(500);

/// Loads the access file, the CAs of client certificates, and the keys of tokens. Tasks reload the
/// files, and end calls whose right has ended.
///
/// # Errors
///
/// If a file can't be read or is invalid.
pub(super) async fn load(
    config: &Config,
    resources: Arc<dyn Store>,
    metrics: &ServiceAccountMetrics,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<(Trust, Arc<TokenKeys>)> {
    let file = config.access_file.as_ref().map(|path| PemFile::new("access-file", path));
    let file = file.map(|file| Reloading::load([file], parse)).transpose()?;
    let current = file.as_ref().map(Reloading::current);
    let keys = Arc::new(TokenKeys::load(resources, SystemTime::now()).await?);
    let contents = current.as_ref().map(|file| file.get()).unwrap_or_default();
    keys.trust(contents.keys.clone()).await.context("--access-file: tokenKeys")?;
    let service_accounts = ServiceAccounts::default();
    service_accounts.load(contents.service_accounts.as_ref()).await?;
    let access = Access::new(contents.policy.clone(), SystemTime::now);
    let authority = config.tls.client_ca_file.as_ref().map(|path| PemFile::new("tls-client-ca-file", path));
    let authority = authority.map(|file| Reloading::load([file], authority_of)).transpose()?;
    let trust = Trust {
        access: access.clone(),
        file: current.clone(),
        authority: authority.as_ref().map(Reloading::current),
        verifier: keys.verifier(),
        service_accounts: service_accounts.clone(),
        clock: SystemTime::now,
    };
    if let Some((file, current)) = file.zip(current) {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        tasks.spawn(file.run_then(RELOAD_INTERVAL, move |_| notify.notify_one()));
        let settings = watch::Sender::new(contents.service_accounts.clone());
        let (settings_now, metrics, rechecked) = (settings.subscribe(), metrics.clone(), access.clone());
        tasks.spawn(async move {
            match service_accounts.run(settings_now, metrics, || rechecked.recheck()).await {}
        });
        tasks.spawn(apply_changes(changed, current, Arc::clone(&keys), settings, access.clone()));
    }
    if let Some(authority) = authority {
        let access = access.clone();
        tasks.spawn(authority.run_then(config.tls.reload_interval, move |_| access.recheck()));
    }
    tasks.spawn(trust.clone().run());
    Ok((trust, keys))
}

/// Applies the contents of the access file each time they have changed. Never returns.
async fn apply_changes(
    changed: Arc<Notify>,
    file: Arc<Current<AccessFile>>,
    keys: Arc<TokenKeys>,
    service_accounts: watch::Sender<Option<ServiceAccountSettings>>,
    access: Access,
) {
    loop {
        changed.notified().await;
        let contents = file.get();
        if let Err(error) = keys.trust(contents.keys.clone()).await {
            warn!(
                "--access-file: tokenKeys: {error}: no key was added, those that the file no longer has were removed"
            );
        }
        service_accounts.send_if_modified(|settings| {
            let changed = *settings != contents.service_accounts;
            settings.clone_from(&contents.service_accounts);
            changed
        });
        // It also checks the credentials of live calls again.
        access.set_policy(contents.policy.clone());
    }
}

fn parse([(file, text)]: [(&PemFile, &Vec<u8>); 1]) -> anyhow::Result<AccessFile> {
    AccessFile::parse(text).with_context(|| file.source())
}
