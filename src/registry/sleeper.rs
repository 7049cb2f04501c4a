//! Who sleeps until the first of many times, one for all of them.

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Sleeper(Notify);

impl Sleeper {
    /// There is a time now that comes before the first one.
    pub(super) fn wake(&self) {
        self.0.notify_one();
    }

    /// Returns at the first time, which is never if there is none, or when it may be
    /// another one.
    pub(super) async fn sleep(&self, first: Option<Instant>) {
        let until_first = async {
            match first {
                Some(first) => sleep_until(first).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = until_first => {}
            () = self.0.notified() => {}
        }
    }
}
