//! Live calls: sessions, watches, waits and other streams, which end when the right of their caller ends.
//!
//! One task waits for the earliest expiry of all credentials, and checks all calls again when the
//! policy, the keys, the revocations or the authorities have changed.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    future::pending,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, task::yield_now, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Action, Denied, Object, OwnedObject, Policy, allow, caller::Identity};
use crate::runtime::sync::Mutex;

/// Longest sleep while a credential can expire: the clock may be set forward meanwhile.
const MAX_SLEEP: Duration = Duration::from_millis(500);

/// Calls that are checked again before other tasks run: after a change of the authorities a check verifies
/// the chain of a client certificate, which takes about 0.1 ms.
const BATCH: usize = 16;

/// Why a live call must end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The credential has expired.
    #[error("the credential has expired: reconnect with a new one")]
    Expired,
    /// The credential is no longer valid, for the reason that is stated.
    #[error("{0}: reconnect with a valid credential")]
    Revoked(String),
    /// The policy no longer allows the call.
    #[error(transparent)]
    Denied(#[from] Denied),
}

/// A call that ends when the right of its caller ends. Dropping it ends the tracking.
#[derive(Debug)]
pub struct LiveCall(Option<Tracked>);

#[derive(Debug)]
struct Tracked {
    id: u64,
    call: Arc<Call>,
    calls: LiveCalls,
}

/// A tracked call.
#[derive(Debug)]
struct Call {
    identity: Arc<Identity>,
    action: Action,
    object: OwnedObject,
    ended: CancellationToken,
    why: OnceLock<Ended>,
    on_end: OnceLock<OnEnd>,
}

/// What is done when a call ends, whether or not the task of the call runs then.
struct OnEnd(Box<dyn Fn() + Send + Sync>);

/// All live calls of callers with a credential.
#[derive(Debug, Clone)]
pub(super) struct LiveCalls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: fn() -> SystemTime,
    calls: Mutex<Calls>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Calls {
    last_id: u64,
    by_id: HashMap<u64, Arc<Call>>,
    /// The expiries of those that have one, with their ids.
    expiries: BTreeSet<(SystemTime, u64)>,
    /// Whether all calls are to be checked again.
    recheck: bool,
}

impl LiveCall {
    /// A call that no right limits.
    pub(crate) fn endless() -> Self {
        Self(None)
    }

    /// What its caller does; none if no right limits the call.
    pub(crate) fn right(&self) -> Option<(Action, Object<'_>)> {
        let call = &self.0.as_ref()?.call;
        Some((call.action, call.object.get()))
    }

    /// Has `f` called when the call must end, which may be now, and in rare cases twice. A stream whose
    /// client reads nothing is not polled, so it can't do by itself what must be done.
    pub fn on_end(&self, f: impl Fn() + Send + Sync + 'static) {
        let Some(Tracked { call, .. }) = &self.0 else { return };
        let OnEnd(f) = call.on_end.get_or_init(|| OnEnd(Box::new(f)));
        if call.ended.is_cancelled() {
            f();
        }
    }

    /// Whether the call must end.
    pub fn has_ended(&self) -> bool {
        self.0.as_ref().is_some_and(|tracked| tracked.call.ended.is_cancelled())
    }

    /// Waits until the call must end, and returns why.
    pub async fn ended(&self) -> Ended {
        let Some(tracked) = &self.0 else { return pending().await };
        // Boxed, so that it adds little to the memory of each quiet session.
        Box::pin(tracked.call.ended.cancelled()).await;
        tracked.call.why.get().cloned().unwrap_or(Ended::Expired)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.calls.forget(self.id, &self.call);
    }
}

impl Call {
    fn expiry(&self) -> Option<SystemTime> {
        self.identity.credential.as_ref()?.expires
    }

    fn check(&self, policy: &Policy) -> Result<(), Ended> {
        if let Some(credential) = &self.identity.credential {
            (credential.recheck)().map_err(Ended::Revoked)?;
        }
        Ok(allow(policy, &self.identity.principal, self.action, self.object.get())?)
    }

    fn end(&self, why: Ended) {
        // The first reason is the one that is stated.
        if self.why.set(why).is_err() {
            return;
        }
        self.ended.cancel();
        if let Some(OnEnd(f)) = self.on_end.get() {
            f();
        }
    }
}

impl LiveCalls {
    pub(super) fn new(clock: fn() -> SystemTime) -> Self {
        Self(Arc::new(Shared { clock, calls: Mutex::default(), changed: Notify::new() }))
    }

    /// Tracks a call that `policy` allows. Its right is checked once more after that, because it may
    /// have ended in between.
    pub(super) fn track(
        &self,
        identity: Arc<Identity>,
        action: Action,
        object: OwnedObject,
        policy: impl Fn() -> Arc<Policy>,
    ) -> LiveCall {
        let call = Call {
            identity,
            action,
            object,
            ended: CancellationToken::new(),
            why: OnceLock::new(),
            on_end: OnceLock::new(),
        };
        let call = Arc::new(call);
        let mut calls = self.0.calls.lock();
        calls.last_id += 1;
        let id = calls.last_id;
        let first_to_expire = call.expiry().is_some() && calls.expiries.is_empty();
        if let Some(expiry) = call.expiry() {
            calls.expiries.insert((expiry, id));
        }
        calls.by_id.insert(id, Arc::clone(&call));
        drop(calls);
        if first_to_expire {
            self.0.changed.notify_one();
        }
        if let Err(why) = call.check(&policy()) {
            call.end(why);
        }
        LiveCall(Some(Tracked { id, call, calls: self.clone() }))
    }

    /// Has all calls checked again by [`LiveCalls::run`].
    pub(super) fn recheck(&self) {
        self.0.calls.lock().recheck = true;
        self.0.changed.notify_one();
    }

    /// Ends the calls that must end. Never returns.
    pub(super) async fn run(&self, policy: impl Fn() -> Arc<Policy>) {
        loop {
            self.end_expired((self.0.clock)());
            if std::mem::take(&mut self.0.calls.lock().recheck) {
                self.end_denied(&policy()).await;
            }
            let expiring = !self.0.calls.lock().expiries.is_empty();
            tokio::select! {
                () = self.0.changed.notified() => {}
                () = sleep(MAX_SLEEP), if expiring => {}
            }
        }
    }

    fn end_expired(&self, now: SystemTime) {
        // Without the lock, which the drop of another call needs.
        for call in self.take_expired(now) {
            call.end(Ended::Expired);
        }
    }

    fn take_expired(&self, now: SystemTime) -> Vec<Arc<Call>> {
        let (mut expired, mut calls) = (Vec::new(), self.0.calls.lock());
        while let Some(&(expiry, id)) = calls.expiries.first().filter(|(expiry, _)| *expiry <= now) {
            calls.expiries.remove(&(expiry, id));
            expired.extend(calls.by_id.get(&id).cloned());
        }
        expired
    }

    /// Checks all calls. Other tasks run in between, and calls expire.
    async fn end_denied(&self, policy: &Policy) {
        let all: Vec<_> = self.0.calls.lock().by_id.values().cloned().collect();
        for batch in all.chunks(BATCH) {
            for call in batch.iter().filter(|call| !call.ended.is_cancelled()) {
                if let Err(why) = call.check(policy) {
                    call.end(why);
                }
            }
            yield_now().await;
            self.end_expired((self.0.clock)());
        }
    }

    fn forget(&self, id: u64, call: &Call) {
        let mut calls = self.0.calls.lock();
        calls.by_id.remove(&id);
        if let Some(expiry) = call.expiry() {
            calls.expiries.remove(&(expiry, id));
        }
    }
}

impl fmt::Debug for OnEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnEnd")
    }
}
