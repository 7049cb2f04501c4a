//! One timer for something that is put off again and again.

use std::{future::pending, pin::Pin};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that is set again only when it has rung, or is to ring sooner: to put
/// it off with every message would cost more than the message.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Returns at a time, or a moment after it; never, if there is none.
    pub(crate) async fn at(&mut self, time: Option<Instant>) {
        let Some(time) = time else {
            return pending().await;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if time < sleep.deadline() {
            sleep.as_mut().reset(time);
        }
        loop {
            sleep.as_mut().await;
            if sleep.deadline() >= time {
                return;
            }
            sleep.as_mut().reset(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_at_the_time_it_was_asked_for_last() {
        let (mut alarm, start) = (Alarm::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for (asked, rings) in [(5, 5), (6, 6), (1, 6)] {
            alarm.at(Some(after(asked))).await;
            assert_eq!(start.elapsed().as_secs(), rings);
        }
        // Put off while it waits, and put forward.
        for (first, then) in [(10, 20), (40, 30)] {
            tokio::select! {
                biased;
                () = alarm.at(Some(after(first))) => unreachable!("it is given up at once"),
                () = std::future::ready(()) => {}
            }
            alarm.at(Some(after(then))).await;
            assert_eq!(start.elapsed().as_secs(), then);
        }
    }
}
