//! The times at which keys are fetched.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::time::advance;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    authentication::service_account::refresh::{Accepted, Pace},
    registry::{Registry, RegistrySettings},
    telemetry::metrics::Metrics,
};

/// The key `other`, which has replaced the others of [`JWKS`].
pub(super) const REPLACED: &str = r#"{"keys":[{"kty":"EC","kid":"other","crv":"P-256",
    "x":"S4GLrHb5Di4LB0s0vdbD7JPQSJE_lSib2UCkxV1SKlQ","y":"TpFCseSVjZfakVT2nomKTwsdhoU_2g0fKs8ZJjPdz8I"}]}"#;

/// Runs the refresh with a source that counts its fetches and returns what `fetch` returns.
pub(super) struct Refreshing {
    pub(super) accounts: ServiceAccounts,
    fetches: Arc<AtomicUsize>,
    replaced: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Refreshing {
    pub(super) fn start(
        fetch: impl Fn(usize) -> anyhow::Result<&'static str> + Send + Sync + 'static,
    ) -> Self {
        let (accounts, fetches, replaced) = (ServiceAccounts::default(), Arc::default(), Arc::default());
        let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap().service_accounts;
        let (shared, count, counted) = (accounts.clone(), Arc::clone(&fetches), Arc::clone(&replaced));
        let task = tokio::spawn(async move {
            let fetch = || {
                let number = AtomicUsize::fetch_add(&count, 1, Relaxed);
                let keys = fetch(number).and_then(|text| jwks::parse(text.as_bytes()));
                async { Ok((None, keys?)) }
            };
            let on_changed = || {
                AtomicUsize::fetch_add(&counted, 1, Relaxed);
            };
            match shared.refresh(&settings(""), Pace::CLUSTER, &metrics, &on_changed, fetch).await {}
        });
        Self { accounts, fetches, replaced, _task: AbortOnDropHandle::new(task) }
    }

    fn verify(&self, kid: &str) -> Result<Verified, ServiceAccountError> {
        let token = mint("ES256", kid, &claims());
        let jws = Jws::parse(&token)?;
        self.accounts.verify(&jws, &Claims::parse(&jws.payload)?.unwrap(), now())
    }

    fn recheck(&self, verified: &Verified) -> Result<(), ServiceAccountError> {
        self.accounts.recheck(&Accepted::new(verified.clone(), None))
    }

    pub(super) fn fetches(&self) -> usize {
        self.fetches.load(Relaxed)
    }

    /// Lets time pass; returns the number of fetches so far.
    pub(super) async fn after(&self, seconds: u64) -> usize {
        for _ in 0..seconds {
            advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
        }
        self.fetches()
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_each_hour_and_for_an_unknown_key_at_most_each_10_seconds() {
    let refreshing = Refreshing::start(|_| Ok(JWKS));
    assert_eq!(refreshing.after(1).await, 1);
    assert!(refreshing.verify("ec").is_ok());
    assert_eq!(refreshing.after(3_598).await, 1, "every key is known");
    assert_eq!(refreshing.after(2).await, 2, "an hour has passed");
    for second in 0..60 {
        assert_eq!(
            refreshing.verify("x").unwrap_err().to_string(),
            "there is no key with KID x for ServiceAccount tokens of \
            the cluster; if it is new, try again in 10 s"
        );
        let fetches = refreshing.after(1).await;
        assert!(fetches <= 3 + second / 10, "{fetches} fetches within {second} s");
    }
    assert!(refreshing.after(1).await >= 7, "an unknown key causes fetches");
    assert_eq!(refreshing.replaced.load(Relaxed), 1, "the keys were always the same");
    // A token of another cluster, whose key is not known either.
    let foreign = mint("ES256", "x", &with(&[("/iss", json!("https://other"))]));
    let before = refreshing.after(20).await;
    let jws = Jws::parse(&foreign).unwrap();
    let error = refreshing.accounts.verify(&jws, &Claims::parse(&jws.payload).unwrap().unwrap(), now());
    assert!(matches!(error, Err(ServiceAccountError::Issuer(_))), "{error:?}");
    assert_eq!(refreshing.after(20).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_accepted_a_removed_one_is_not_and_a_failure_changes_nothing() {
    let refreshing = Refreshing::start(|number| match number {
        0 | 2 => anyhow::bail!("down"),
        1 => Ok(JWKS),
        _ => Ok(REPLACED),
    });
    assert_eq!(refreshing.after(1).await, 1);
    assert!(refreshing.verify("ec").is_err());
    refreshing.after(10).await;
    let verified = refreshing.verify("ec").unwrap();
    assert!(refreshing.verify("other").is_err());
    assert_eq!(refreshing.after(10).await, 3, "failed");
    assert_eq!(refreshing.recheck(&verified), Ok(()));
    assert_eq!(refreshing.after(10).await, 4, "tried again");
    assert!(matches!(refreshing.recheck(&verified), Err(ServiceAccountError::UnknownKey(_))));
    assert_eq!((refreshing.verify("other").is_ok(), refreshing.replaced.load(Relaxed)), (true, 2));
}
