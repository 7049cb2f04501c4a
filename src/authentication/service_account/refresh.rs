//! The present keys of the cluster, and the task that fetches them.

use std::{
    convert::Infallible,
    future::pending,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Claims, Cluster, ServiceAccountError, Settings,
    cluster::Verified,
    jwks::{self, Keys},
    reviews::{ReviewedToken, Reviews},
    settings::Source,
    waiting::Places,
};
use crate::{
    authentication::{jws::Jws, kube_api::KubeApi},
    runtime::{blocking::spawn_blocking, limited_file::read_limited, sync::Mutex},
    telemetry::metrics::ServiceAccountMetrics,
};

const KEYS: &str = "/openid/v1/jwks";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// Largest file of keys, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Longest time that the start of the server waits for kube-apiserver.
const FIRST_FETCH: Duration = Duration::from_secs(2);

/// The `ServiceAccount` tokens that the server accepts at present. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ServiceAccounts(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    reviews: Reviews,
    /// A token names a key that is not known.
    unknown_key: Notify,
    /// The keys were fetched, or the settings have changed.
    fetched: watch::Sender<()>,
    /// Of the calls that wait for that.
    places: Places,
}

#[derive(Debug, Default)]
enum State {
    /// None is accepted.
    #[default]
    Off,
    /// The keys have not been fetched yet.
    NoKeys,
    /// The tokens of this cluster are accepted.
    Ready(Arc<Cluster>),
}

/// The time between two fetches of the keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// At least this, whatever tokens are presented, and after a failure.
    least: Duration,
    /// If all keys are known.
    most: Duration,
}

impl Pace {
    const FILE: Self = Self { least: Duration::from_secs(1), most: Duration::from_secs(5) };
    pub(super) const CLUSTER: Self = Self { least: Duration::from_secs(10), most: Duration::from_hours(1) };
}

/// A token that is accepted, while kube-apiserver does not reject it.
#[derive(Debug)]
pub(in crate::authentication) struct Accepted {
    pub(in crate::authentication) verified: Verified,
    /// None if the token is not reviewed.
    review: Option<Arc<ReviewedToken>>,
}

impl Accepted {
    /// For tests: a token, and its review if it is reviewed.
    #[cfg(test)]
    pub(super) fn new(verified: Verified, review: Option<Arc<ReviewedToken>>) -> Self {
        Self { verified, review }
    }
}

/// What a fetch returns: the cluster's own issuer, if it was asked for, and its keys.
type Fetched = (Option<String>, Keys);

impl ServiceAccounts {
    /// Verifies a token at a time of day, and has it reviewed. If its key is unknown, the keys are
    /// fetched again.
    ///
    /// # Errors
    ///
    /// The first rule that the token breaks.
    pub(in crate::authentication) fn accept(
        &self,
        token: &str,
        jws: &Jws<'_>,
        claims: &Claims,
        now: SystemTime,
    ) -> Result<Accepted, ServiceAccountError> {
        let verified = self.verify(jws, claims, now)?;
        let review = self.0.reviews.accept(token, verified.expires)?;
        Ok(Accepted { verified, review })
    }

    pub(super) fn verify(
        &self,
        jws: &Jws<'_>,
        claims: &Claims,
        now: SystemTime,
    ) -> Result<Verified, ServiceAccountError> {
        let verified = self.cluster()?.verify(jws, claims, now);
        if let Err(ServiceAccountError::UnknownKey(_)) = verified {
            self.0.unknown_key.notify_one();
        }
        verified
    }

    /// Checks again that a token that was verified before is accepted.
    ///
    /// # Errors
    ///
    /// If its key was removed, the settings have changed, or kube-apiserver has rejected it.
    pub(in crate::authentication) fn recheck(&self, token: &Accepted) -> Result<(), ServiceAccountError> {
        if token.review.as_ref().is_some_and(|token| token.is_rejected()) {
            return Err(ServiceAccountError::Rejected);
        }
        self.cluster()?.recheck(&token.verified)
    }

    /// For tests: accepts the tokens of this cluster.
    #[cfg(test)]
    pub(super) fn ready(cluster: Cluster) -> Self {
        let accounts = Self::default();
        *accounts.0.state.lock() = State::Ready(Arc::new(cluster));
        accounts
    }

    /// What calls need to wait for the next fetch of the keys.
    pub(super) fn waiting(&self) -> (&Places, watch::Receiver<()>) {
        (&self.0.places, self.0.fetched.subscribe())
    }

    fn cluster(&self) -> Result<Arc<Cluster>, ServiceAccountError> {
        match &*self.0.state.lock() {
            State::Off => Err(ServiceAccountError::NotAccepted),
            State::NoKeys => Err(ServiceAccountError::NoKeys),
            State::Ready(cluster) => Ok(Arc::clone(cluster)),
        }
    }

    /// Fetches the keys for the first time. Without kube-apiserver the server starts without them.
    ///
    /// # Errors
    ///
    /// If the keys are in a file that can't be used.
    pub(crate) async fn load(&self, settings: Option<&Settings>) -> anyhow::Result<()> {
        let Some(settings) = settings else { return Ok(()) };
        self.begin();
        self.0.reviews.set_interval(settings.source.review_interval());
        let fetched = match (&settings.source, settings.source.kube_api()) {
            (Source::File(file), _) => Ok(fetch_file(file).await?),
            (Source::KubeApiServer { .. }, api) => {
                let fetch = fetch_cluster(api.as_ref(), settings.discovers_issuer());
                timeout(FIRST_FETCH, fetch).await.unwrap_or_else(|elapsed| Err(elapsed.into()))
            }
        };
        match fetched {
            Ok(fetched) => drop(self.replace(settings, fetched)),
            // The task reports why.
            Err(error) => info!("starts without the cluster's keys for ServiceAccount tokens: {error:#}"),
        }
        Ok(())
    }

    /// Fetches the keys again and again, by the present settings. Calls `on_changed` when tokens that
    /// were accepted before may no longer be. Never returns.
    pub(crate) async fn run(
        &self,
        mut settings: watch::Receiver<Option<Settings>>,
        metrics: ServiceAccountMetrics,
        on_changed: impl Fn(),
    ) -> Infallible {
        loop {
            let present = settings.borrow_and_update().clone();
            tokio::select! {
                never = self.follow(present, &metrics, &on_changed) => match never {},
                changed = settings.changed() => if changed.is_err() { return pending().await },
            }
        }
    }

    async fn follow(
        &self,
        settings: Option<Settings>,
        metrics: &ServiceAccountMetrics,
        on_changed: &impl Fn(),
    ) -> Infallible {
        let interval = settings.as_ref().and_then(|settings| settings.source.review_interval());
        self.0.reviews.set_interval(interval);
        let Some(settings) = settings else {
            *self.0.state.lock() = State::Off;
            self.0.fetched.send_replace(());
            on_changed();
            return pending().await;
        };
        self.begin();
        let api = settings.source.kube_api();
        let discovers = settings.discovers_issuer();
        match &settings.source {
            Source::File(file) => {
                self.refresh(&settings, Pace::FILE, metrics, on_changed, || fetch_file(file)).await
            }
            Source::KubeApiServer { .. } => {
                let fetch = || fetch_cluster(api.as_ref(), discovers);
                let review = |token| review(api.as_ref(), token, settings.audience());
                tokio::select! {
                    never = self.refresh(&settings, Pace::CLUSTER, metrics, on_changed, fetch) => never,
                    never = self.0.reviews.run(metrics, on_changed, review) => never,
                }
            }
        }
    }

    pub(super) async fn refresh<F: Future<Output = anyhow::Result<Fetched>>>(
        &self,
        settings: &Settings,
        pace: Pace,
        metrics: &ServiceAccountMetrics,
        on_changed: &impl Fn(),
        fetch: impl Fn() -> F,
    ) -> Infallible {
        let mut reported = None;
        loop {
            let fetched = fetch().await;
            metrics.keys_fetched(fetched.is_ok());
            let rest = match fetched {
                Ok(fetched) => {
                    reported = None;
                    let replaced = self.replace(settings, fetched);
                    // First, so that a session is not ended whose next token has one of the new keys.
                    self.0.fetched.send_replace(());
                    if replaced {
                        info!("the cluster's keys for ServiceAccount tokens have changed");
                        on_changed();
                    }
                    pace.most.saturating_sub(pace.least)
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    if reported.as_ref() != Some(&error) {
                        warn!(
                            "can't fetch the cluster's keys for ServiceAccount tokens, still using the previous ones: {error}"
                        );
                        reported = Some(error);
                    }
                    Duration::ZERO
                }
            };
            sleep(pace.least).await;
            tokio::select! {
                () = sleep(rest) => {}
                () = self.0.unknown_key.notified() => {}
            }
        }
    }

    /// From now on tokens are accepted, once there are keys.
    pub(super) fn begin(&self) {
        let mut state = self.0.state.lock();
        if let State::Off = *state {
            *state = State::NoKeys;
        }
    }

    /// Returns whether rules or keys are others than before.
    fn replace(&self, settings: &Settings, (issuer, keys): Fetched) -> bool {
        let Some(rules) = settings.rules(issuer) else { return false };
        let new = Cluster::new(rules, keys);
        let mut state = self.0.state.lock();
        if matches!(&*state, State::Ready(present) if **present == new) {
            return false;
        }
        *state = State::Ready(Arc::new(new));
        true
    }
}

async fn fetch_file(file: &Path) -> anyhow::Result<Fetched> {
    let path = file.to_owned();
    let read = spawn_blocking(move || read_limited(&path, MAX_FILE_BYTES)).await;
    let parse = || -> anyhow::Result<Keys> {
        let text = read.context("the process ends")?;
        let text = text.context("can't read it: check that it is there, and readable by this user")?;
        jwks::parse(text.context("larger than 1 MiB")?.as_bytes())
    };
    let keys = parse().with_context(|| format!("--access-file: jwksFile {}", file.display()))?;
    Ok((None, keys))
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

async fn fetch_cluster(api: Option<&KubeApi>, discovers: bool) -> anyhow::Result<Fetched> {
    let api = api.context("kubeApiServer.url has no host")?;
    let issuer = if discovers {
        let document = api.get(DISCOVERY).await?;
        let Discovery { issuer } = serde_json::from_slice(&document).context(DISCOVERY)?;
        Some(issuer)
    } else {
        None
    };
    let keys = jwks::parse(&api.get(KEYS).await?).context(KEYS)?;
    Ok((issuer, keys))
}

#[derive(Deserialize)]
struct TokenReview {
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    #[serde(default)]
    authenticated: bool,
}

/// Asks kube-apiserver whether it accepts a token.
async fn review(api: Option<&KubeApi>, token: Arc<ReviewedToken>, audience: &str) -> anyhow::Result<bool> {
    let api = api.context("kubeApiServer.url has no host")?;
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": { "token": token.text(), "audiences": [audience] },
    });
    let response = api.post(REVIEWS, review.to_string().into()).await?;
    let TokenReview { status } = serde_json::from_slice(&response).context(REVIEWS)?;
    Ok(status.authenticated)
}
