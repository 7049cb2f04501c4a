//! Timers of connections, all of which fire at the same few ticks.
//!
//! Ten thousand quiet connections send nearly two thousand PINGs a second. With a
//! deadline of its own, every PING would wake a sleeping thread; at common ticks one
//! wake-up sends thirty.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// How much later than its deadline a timer may fire. A longer tick saves little more
/// and delays other work by a larger batch of PINGs.
const TICK: Duration = Duration::from_millis(20);

/// hyper's timer with every deadline rounded up to the next tick.
#[derive(Debug, Clone)]
pub(crate) struct CoalescingTimer {
    first: Instant,
    timer: TokioTimer,
}

impl CoalescingTimer {
    /// A timer whose first tick is now.
    pub(crate) fn new() -> Self {
        let timer = TokioTimer::new();
        Self { first: timer.now(), timer }
    }

    /// `time` if it is a tick, or the next tick after it.
    fn tick_at_or_after(&self, time: Instant) -> Instant {
        let beyond = time.saturating_duration_since(self.first).as_nanos() % TICK.as_nanos();
        let to_next = (TICK.as_nanos() - beyond) % TICK.as_nanos();
        // Shorter than a tick, so it fits.
        time + Duration::from_nanos(u64::try_from(to_next).unwrap_or_default())
    }
}

impl Timer for CoalescingTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.timer.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep_until(self.tick_at_or_after(deadline))
    }

    fn now(&self) -> Instant {
        self.timer.now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.timer.reset(sleep, self.tick_at_or_after(deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn timers_fire_at_ticks_and_never_early() {
        let (ticks, start) = (CoalescingTimer::new(), tokio::time::Instant::now());
        for (requested, fires) in [(1, 20), (20, 40), (21, 80), (6_000, 6_080)] {
            ticks.sleep(Duration::from_millis(requested)).await;
            assert_eq!(start.elapsed().as_millis(), fires, "after {requested}");
        }
        let mut sleep = ticks.sleep(Duration::from_hours(1));
        ticks.reset(&mut sleep, ticks.now() + Duration::from_millis(4));
        sleep.await;
        assert_eq!(start.elapsed().as_millis(), 6_100);
    }

    #[test]
    fn ticks_do_not_overflow_within_years() {
        let ticks = CoalescingTimer::new();
        let years = Duration::from_hours(10 * 366 * 24);
        let late = ticks.tick_at_or_after(ticks.first + years) - ticks.first;
        assert!(late >= years && late < years + TICK);
    }
}
