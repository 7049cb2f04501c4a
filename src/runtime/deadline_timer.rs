//! One timer for an ordered set of deadlines.

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Sleeps until the earliest of many deadlines, and is woken when an earlier one is
/// added. One task waits; any number of tasks may wake it.
#[derive(Debug, Default)]
pub(crate) struct DeadlineTimer(Notify);

impl DeadlineTimer {
    /// Wakes the waiting task: there is a new earliest deadline.
    pub(crate) fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until `earliest`, or until [`DeadlineTimer::wake`]; the caller then checks its
    /// deadlines again. Without a deadline it waits for the wake-up alone.
    pub(crate) async fn sleep_until(&self, earliest: Option<Instant>) {
        let deadline = async {
            match earliest {
                Some(earliest) => sleep_until(earliest).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = deadline => {}
            () = self.0.notified() => {}
        }
    }
}
