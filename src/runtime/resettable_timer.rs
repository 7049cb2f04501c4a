//! A timer for a deadline that moves often.

use std::{future::pending, pin::Pin};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer whose deadline moves with nearly every message. The underlying timer is
/// reset only when it has fired or must fire earlier, because a reset for each
/// message would cost more than the message.
#[derive(Debug, Default)]
pub(crate) struct ResettableTimer(Option<Pin<Box<Sleep>>>);

impl ResettableTimer {
    /// Waits until `deadline`, or a moment longer; forever if there is none.
    pub(crate) async fn sleep_until(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else {
            return pending().await;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < sleep.deadline() {
            sleep.as_mut().reset(deadline);
        }
        loop {
            sleep.as_mut().await;
            if sleep.deadline() >= deadline {
                return;
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_fires_at_the_latest_deadline() {
        let (mut timer, start) = (ResettableTimer::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (deadline, fires) in [(5, 5), (6, 6), (1, 6)] {
            timer.sleep_until(Some(after(deadline))).await;
            assert_eq!(start.elapsed().as_secs(), fires);
        }
        // Moved later while it waits, then earlier.
        for (first, then) in [(10, 20), (40, 30)] {
            tokio::select! {
                biased;
                () = timer.sleep_until(Some(after(first))) => unreachable!("cancelled at once"),
                () = std::future::ready(()) => {}
            }
            timer.sleep_until(Some(after(then))).await;
            assert_eq!(start.elapsed().as_secs(), then);
        }
    }
}
