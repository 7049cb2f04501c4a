//! Reviews of tokens by kube-apiserver, which knows when a Pod or a `ServiceAccount` was deleted.
//!
//! A token is accepted before it is reviewed, so that a session does not wait for kube-apiserver. A
//! review that fails changes nothing.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use ring::digest::{SHA256, digest};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tracing::warn;

use super::ServiceAccountError;
use crate::{
    runtime::sync::Mutex,
    telemetry::metrics::{ReviewOutcome, ServiceAccountMetrics},
};

/// Time between two reviews: at most 50 in a second.
const PAUSE: Duration = Duration::from_millis(20);
/// Time between two reviews after one that failed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// A rejected token that is presented again is reviewed again after this time.
const REJECTED_INTERVAL: Duration = Duration::from_secs(10);
/// The most tokens that wait for their first review.
const MAX_WAITING: usize = 10_000;
/// The most rejected tokens that are remembered.
const MAX_REJECTED: usize = 10_000;

type Digest = [u8; 32];

/// Reviews the tokens of live calls. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Reviews(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A token waits for its first review.
    waiting: Notify,
    /// Tokens that were not queued, and are not counted yet.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The time between two reviews of a token; none if there is no kube-apiserver.
    interval: Option<Duration>,
    /// Tokens in one of the two queues.
    known: HashMap<Digest, Weak<ReviewedToken>>,
    /// Tokens that were not reviewed yet.
    first: VecDeque<Arc<ReviewedToken>>,
    /// Tokens that were reviewed, and when they are reviewed again.
    again: VecDeque<(Instant, Digest, Weak<ReviewedToken>)>,
    rejected: HashMap<Digest, Rejected>,
}

#[derive(Debug)]
struct Rejected {
    expires: SystemTime,
    reviewed: Instant,
}

/// A token that is accepted until kube-apiserver rejects it. Its users keep this.
pub(super) struct ReviewedToken {
    text: Box<str>,
    digest: Digest,
    expires: SystemTime,
    rejected: AtomicBool,
}

impl Reviews {
    /// Sets the time between two reviews of a token; none if tokens are not reviewed.
    pub(super) fn set_interval(&self, interval: Option<Duration>) {
        self.0.state.lock().interval = interval;
    }

    /// Accepts a valid token, and has it reviewed; none if tokens are not reviewed, or too many
    /// wait.
    ///
    /// # Errors
    ///
    /// If kube-apiserver has rejected the token.
    pub(super) fn accept(
        &self,
        text: &str,
        expires: SystemTime,
    ) -> Result<Option<Arc<ReviewedToken>>, ServiceAccountError> {
        let digest: Digest = digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap_or_default();
        let mut state = self.0.state.lock();
        let State { interval: Some(_), known, first, rejected, .. } = &mut *state else { return Ok(None) };
        let earlier = rejected.get_mut(&digest);
        let is_rejected = earlier.is_some();
        match earlier {
            Some(earlier) if earlier.reviewed.elapsed() < REJECTED_INTERVAL => {
                return Err(ServiceAccountError::Rejected);
            }
            Some(earlier) => earlier.reviewed = Instant::now(),
            None => {}
        }
        if let Some(token) = known.get(&digest).and_then(Weak::upgrade) {
            return if is_rejected { Err(ServiceAccountError::Rejected) } else { Ok(Some(token)) };
        }
        let token = ReviewedToken { text: text.into(), digest, expires, rejected: is_rejected.into() };
        let token = Arc::new(token);
        if first.len() < MAX_WAITING {
            known.insert(digest, Arc::downgrade(&token));
            first.push_back(Arc::clone(&token));
            self.0.waiting.notify_one();
        } else {
            self.0.dropped.fetch_add(1, Relaxed);
        }
        if is_rejected { Err(ServiceAccountError::Rejected) } else { Ok(Some(token)) }
    }

    /// Reviews tokens one after the other by `review`, which returns whether kube-apiserver accepts
    /// the token. Calls `on_rejected` after it has rejected one. Never returns.
    pub(super) async fn run<F: Future<Output = anyhow::Result<bool>>>(
        &self,
        metrics: &ServiceAccountMetrics,
        on_rejected: &impl Fn(),
        review: impl Fn(Arc<ReviewedToken>) -> F,
    ) -> Infallible {
        let mut reported = None;
        loop {
            let token = self.next().await;
            metrics.reviews_dropped(self.0.dropped.swap(0, Relaxed));
            match review(Arc::clone(&token)).await {
                Ok(true) => {
                    metrics.reviewed(ReviewOutcome::Accepted);
                    reported = None;
                    self.accepted(&token);
                }
                Ok(false) => {
                    metrics.reviewed(ReviewOutcome::Rejected);
                    reported = None;
                    self.rejected(&token);
                    on_rejected();
                }
                Err(error) => {
                    metrics.reviewed(ReviewOutcome::Failed);
                    let error = format!("{error:#}");
                    if reported.as_ref() != Some(&error) {
                        warn!(
                            "can't have ServiceAccount tokens reviewed, so they are valid until they expire: {error}"
                        );
                        reported = Some(error);
                    }
                    self.0.state.lock().first.push_back(token);
                    sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
            sleep(PAUSE).await;
        }
    }

    /// The next token to review that is in use.
    async fn next(&self) -> Arc<ReviewedToken> {
        loop {
            let due = {
                let mut state = self.0.state.lock();
                if let Some(token) = state.next(Instant::now()) {
                    return token;
                }
                state.again.front().map(|(due, ..)| *due)
            };
            tokio::select! {
                () = self.0.waiting.notified() => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn accepted(&self, token: &Arc<ReviewedToken>) {
        token.rejected.store(false, Relaxed);
        let mut state = self.0.state.lock();
        state.rejected.remove(&token.digest);
        let due = Instant::now() + state.interval.unwrap_or_default();
        state.again.push_back((due, token.digest, Arc::downgrade(token)));
    }

    fn rejected(&self, token: &ReviewedToken) {
        token.rejected.store(true, Relaxed);
        let mut state = self.0.state.lock();
        let State { known, rejected, .. } = &mut *state;
        known.remove(&token.digest);
        if rejected.len() >= MAX_REJECTED {
            // The one that ends first does the least harm.
            let first =
                rejected.iter().min_by_key(|(_, rejected)| rejected.expires).map(|(digest, _)| *digest);
            first.map(|digest| rejected.remove(&digest));
        }
        rejected.insert(token.digest, Rejected { expires: token.expires, reviewed: Instant::now() });
    }
}

impl State {
    fn next(&mut self, now: Instant) -> Option<Arc<ReviewedToken>> {
        while let Some(token) = self.first.pop_front() {
            // A call that has ended needs no review, unless it asks whether a rejected token is accepted.
            if Arc::strong_count(&token) > 1 || token.is_rejected() {
                return Some(token);
            }
            self.known.remove(&token.digest);
        }
        while let Some((_, digest, token)) = self.again.pop_front_if(|(due, ..)| *due <= now) {
            if let Some(token) = token.upgrade() {
                return Some(token);
            }
            if self.known.get(&digest).is_some_and(|token| token.strong_count() == 0) {
                self.known.remove(&digest);
            }
        }
        None
    }
}

impl ReviewedToken {
    /// The token itself.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether kube-apiserver has rejected the token.
    pub(super) fn is_rejected(&self) -> bool {
        self.rejected.load(Relaxed)
    }
}

impl std::fmt::Debug for ReviewedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReviewedToken")
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, time::advance};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::{
        registry::{Registry, RegistrySettings},
        telemetry::metrics::Metrics,
    };

    /// Answers reviews by a function of the token and the number of reviews before.
    struct Fixture {
        reviews: Reviews,
        reviewed: mpsc::UnboundedReceiver<String>,
        rejections: mpsc::UnboundedReceiver<()>,
        metrics: Metrics,
        _task: AbortOnDropHandle<()>,
    }

    impl Fixture {
        fn start(answer: impl Fn(&str, usize) -> anyhow::Result<bool> + Send + Sync + 'static) -> Self {
            let reviews = Reviews::default();
            reviews.set_interval(Some(Duration::from_mins(5)));
            let metrics = Metrics::new(&Registry::new(RegistrySettings::default())).unwrap();
            let (sender, reviewed) = mpsc::unbounded_channel();
            let (rejecting, rejections) = mpsc::unbounded_channel();
            let (running, counted) = (reviews.clone(), metrics.service_accounts.clone());
            let task = tokio::spawn(async move {
                let count = std::sync::atomic::AtomicUsize::new(0);
                let review = |token: Arc<ReviewedToken>| {
                    sender.send(token.text().to_owned()).unwrap();
                    let answer = answer(token.text(), count.fetch_add(1, Relaxed));
                    async { answer }
                };
                match running.run(&counted, &|| rejecting.send(()).unwrap(), review).await {}
            });
            Self { reviews, reviewed, rejections, metrics, _task: AbortOnDropHandle::new(task) }
        }

        fn accept(&self, token: &str) -> Result<Option<Arc<ReviewedToken>>, ServiceAccountError> {
            self.reviews.accept(token, SystemTime::UNIX_EPOCH)
        }

        fn in_use(&self, token: &str) -> Arc<ReviewedToken> {
            self.accept(token).unwrap().unwrap()
        }

        /// Lets time pass in steps of 10 ms, and returns the tokens that are reviewed meanwhile.
        async fn after(&mut self, time: Duration) -> Vec<String> {
            let step = Duration::from_millis(10).max(time / 1_000);
            let end = Instant::now() + time;
            while Instant::now() < end {
                advance(step).await;
                tokio::task::yield_now().await;
            }
            std::iter::from_fn(|| self.reviewed.try_recv().ok()).collect()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_reviewed_while_it_is_used_at_once_and_at_each_interval() {
        let mut fixture = Fixture::start(|_, _| Ok(true));
        let token = fixture.in_use("a");
        assert!(Arc::ptr_eq(&token, &fixture.in_use("a")), "one token is reviewed once");
        drop(fixture.in_use("ended"));
        assert_eq!(fixture.after(Duration::from_secs(299)).await, ["a"]);
        assert_eq!(fixture.after(Duration::from_secs(2)).await, ["a"]);
        drop(token);
        assert!(fixture.after(Duration::from_mins(10)).await.is_empty());
        assert!(fixture.reviews.0.state.lock().known.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_token_is_refused_until_a_later_review_accepts_it() {
        let mut fixture = Fixture::start(|token, count| Ok(token != "bad" || count > 1));
        let (good, bad) = (fixture.in_use("good"), fixture.in_use("bad"));
        assert!(!bad.is_rejected(), "it is accepted before it is reviewed");
        assert_eq!(fixture.after(Duration::from_secs(1)).await, ["good", "bad"]);
        assert_eq!((good.is_rejected(), bad.is_rejected()), (false, true));
        assert!(fixture.rejections.try_recv().is_ok() && fixture.rejections.try_recv().is_err());
        assert_eq!(fixture.accept("bad").unwrap_err(), ServiceAccountError::Rejected);
        assert!(fixture.after(Duration::from_secs(10)).await.is_empty(), "it is not reviewed yet");
        assert_eq!(fixture.accept("bad").unwrap_err(), ServiceAccountError::Rejected);
        assert_eq!(fixture.after(Duration::from_secs(1)).await, ["bad"]);
        assert!(fixture.accept("bad").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_rejected_tokens_that_end_last_are_remembered() {
        let reviews = Reviews::default();
        for number in 0..=MAX_REJECTED {
            let digest: Digest = digest(&SHA256, &number.to_le_bytes()).as_ref().try_into().unwrap();
            let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(number != 7));
            let token = ReviewedToken { text: "".into(), digest, expires, rejected: false.into() };
            reviews.rejected(&token);
        }
        let state = reviews.0.state.lock();
        assert_eq!(state.rejected.len(), MAX_REJECTED);
        assert!(state.rejected.values().all(|rejected| rejected.expires > SystemTime::UNIX_EPOCH));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_changes_nothing_and_is_counted() {
        let mut fixture = Fixture::start(|_, count| if count < 2 { anyhow::bail!("down") } else { Ok(true) });
        let token = fixture.in_use("a");
        assert_eq!(fixture.after(Duration::from_secs(4)).await, ["a"]);
        assert!(!token.is_rejected() && fixture.rejections.try_recv().is_err());
        assert_eq!(fixture.after(Duration::from_secs(10)).await, ["a", "a"]);
        let text = fixture.metrics.encode().unwrap();
        for line in ["{outcome=\"failed\"} 2", "{outcome=\"accepted\"} 1", "{outcome=\"rejected\"} 0"] {
            assert!(text.contains(&format!("headcount_token_reviews_total{line}")), "{line}: {text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reviews_have_a_rate_and_the_tokens_that_wait_a_bound() {
        let mut fixture = Fixture::start(|_, _| Ok(true));
        let tokens: Vec<_> = (0..MAX_WAITING + 5).map(|n| fixture.in_use(&n.to_string())).collect();
        assert!((40..=51).contains(&fixture.after(Duration::from_secs(1)).await.len()));
        drop(tokens);
        let text = fixture.metrics.encode().unwrap();
        assert!(text.contains("headcount_token_reviews_total{outcome=\"dropped\"} 5"), "{text}");
        fixture.reviews.set_interval(None);
        assert!(fixture.accept("a").unwrap().is_none(), "without kube-apiserver");
    }
}
