//! Calls whose token names a key that is not known yet. They wait until the keys are fetched again, so
//! that a cluster can replace its key without ending sessions.

use std::time::Duration;

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{ServiceAccountError, ServiceAccounts};
use crate::authentication::{AuthenticationError, RejectedCredential};

/// Which calls wait for a key. Each kind has places of its own, so that clients without a valid token
/// can't take those of sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwaitsKey {
    /// A new call, which is not authenticated yet.
    Call,
    /// A session whose client replaces its token. Its former token is still valid.
    Session,
}

impl AwaitsKey {
    /// The longest wait. An agent abandons a new call after 5 s. A session may wait for a whole interval
    /// between two fetches and for two of them, 10 s each.
    pub(super) const fn longest(self) -> Duration {
        match self {
            Self::Call => Duration::from_secs(4),
            Self::Session => Duration::from_secs(30),
        }
    }

    /// The most that wait. A token has at most 8 KiB, and usually one.
    pub(super) const fn most(self) -> usize {
        match self {
            Self::Call => 1_000,
            Self::Session => 10_000,
        }
    }
}

/// The places of the calls that wait.
#[derive(Debug)]
pub(super) struct Places {
    calls: Semaphore,
    sessions: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        let [calls, sessions] = [AwaitsKey::Call, AwaitsKey::Session].map(|kind| Semaphore::new(kind.most()));
        Self { calls, sessions }
    }
}

impl Places {
    fn of(&self, kind: AwaitsKey) -> &Semaphore {
        match kind {
            AwaitsKey::Call => &self.calls,
            AwaitsKey::Session => &self.sessions,
        }
    }
}

impl ServiceAccounts {
    /// Returns what `authenticate` returns. While that is that the key of a token is not known, calls it
    /// again after each fetch of the keys.
    ///
    /// # Errors
    ///
    /// The last error of `authenticate`, or that too many calls wait.
    pub(in crate::authentication) async fn await_key<T>(
        &self,
        kind: AwaitsKey,
        authenticate: impl Fn() -> Result<T, RejectedCredential>,
    ) -> Result<T, RejectedCredential> {
        let result = authenticate();
        if !lacks_key(&result) {
            return result;
        }
        let (places, mut fetched) = self.waiting();
        let Ok(_place) = places.of(kind).try_acquire() else {
            return Err(ServiceAccountError::TooManyWait.into());
        };
        let deadline = Instant::now() + kind.longest();
        loop {
            // The keys may have been fetched before the subscription.
            let result = authenticate();
            if !lacks_key(&result) || !matches!(timeout_at(deadline, fetched.changed()).await, Ok(Ok(()))) {
                return result;
            }
        }
    }
}

fn lacks_key<T>(result: &Result<T, RejectedCredential>) -> bool {
    use ServiceAccountError::{NoKeys, UnknownKey};
    let error = result.as_ref().err().map(|rejected| &rejected.error);
    matches!(error, Some(AuthenticationError::ServiceAccount(NoKeys | UnknownKey(_))))
}
