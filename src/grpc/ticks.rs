//! Timers of connections, all of which end at the same few ticks.
//!
//! Ten thousand quiet connections get nearly two thousand PINGs a second. At a
//! time of its own for each, every PING would wake a thread that sleeps; at
//! common ticks one awakening sends thirty.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// How much later than asked a timer may end. Longer ticks save little more, and
/// what comes at the same time has to wait for all their PINGs.
const TICK: Duration = Duration::from_millis(20);

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(super) struct Ticks {
    first: Instant,
    timer: TokioTimer,
}

impl Ticks {
    /// Begins to tick now.
    pub(super) fn new() -> Self {
        let timer = TokioTimer::new();
        Self { first: timer.now(), timer }
    }

    /// The tick at a time, or the next one after it.
    fn at_or_after(&self, time: Instant) -> Instant {
        let beyond = time.saturating_duration_since(self.first).as_nanos() % TICK.as_nanos();
        let to_next = (TICK.as_nanos() - beyond) % TICK.as_nanos();
        // Shorter than a tick, so it fits.
        time + Duration::from_nanos(u64::try_from(to_next).unwrap_or_default())
    }
}

impl Timer for Ticks {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.timer.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep_until(self.at_or_after(deadline))
    }

    fn now(&self) -> Instant {
        self.timer.now()
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.timer.reset(sleep, self.at_or_after(deadline));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn timers_end_at_ticks_and_never_early() {
        let (ticks, start) = (Ticks::new(), tokio::time::Instant::now());
        for (asked, ends) in [(1, 20), (20, 40), (21, 80), (6_000, 6_080)] {
            ticks.sleep(Duration::from_millis(asked)).await;
            assert_eq!(start.elapsed().as_millis(), ends, "after {asked}");
        }
        let mut sleep = ticks.sleep(Duration::from_hours(1));
        ticks.reset(&mut sleep, ticks.now() + Duration::from_millis(4));
        sleep.await;
        assert_eq!(start.elapsed().as_millis(), 6_100);
    }

    #[test]
    fn a_server_may_tick_for_years() {
        let ticks = Ticks::new();
        let years = Duration::from_hours(10 * 366 * 24);
        let late = ticks.at_or_after(ticks.first + years) - ticks.first;
        assert!(late >= years && late < years + TICK);
    }
}
