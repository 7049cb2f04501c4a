//! A storm must not flood the log: what one place in the code says over and
//! over is written a number of times, then only summed up. Metrics count on.
//!
//! This holds for every line, also of the crates below us: h2 for one warns of
//! each PING answer that nobody asked for.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, Subscriber, callsite::Identifier, warn};
use tracing_subscriber::layer::{Context, Layer};

/// Lines of one place that are written within a window: what a person can read.
/// A storm that goes on costs 4 lines a second.
const LINES: u32 = 20;
/// Also how late the sum may come.
const WINDOW: Duration = Duration::from_secs(5);

/// The layer that leaves lines out. Those below `INFO` are all written: who asks
/// for them wants them.
pub(super) struct Storm {
    places: Arc<Mutex<HashMap<Identifier, Place>>>,
    /// To the thread that sums up.
    overflowed: mpsc::Sender<&'static Metadata<'static>>,
}

impl Storm {
    /// With a thread of its own: it sleeps unless lines are left out, and a
    /// runtime that has no time is no reason to keep silent about them.
    pub(super) fn new() -> Self {
        let (overflowed, place) = mpsc::channel();
        let places = Arc::new(Mutex::new(HashMap::new()));
        let storm = Self { places: Arc::clone(&places), overflowed };
        let thread = thread::Builder::new().name("log-sums".into());
        // Without it lines are left out all the same, which is what protects us.
        let _thread = thread.spawn(move || sum_up(&places, &place));
        storm
    }
}

impl<S: Subscriber> Layer<S> for Storm {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let place = event.metadata();
        if *place.level() > Level::INFO {
            return true;
        }
        let verdict = self.places.lock().entry(place.callsite()).or_default().say(Instant::now());
        if verdict == Verdict::FirstLeftOut {
            let _no_thread = self.overflowed.send(place);
        }
        verdict == Verdict::Write
    }
}

fn sum_up(
    places: &Mutex<HashMap<Identifier, Place>>,
    overflowed: &mpsc::Receiver<&'static Metadata<'static>>,
) {
    for metadata in overflowed {
        thread::sleep(WINDOW);
        let left_out =
            places.lock().get_mut(&metadata.callsite()).map(|place| std::mem::take(&mut place.left_out));
        let (file, line) = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        warn!(left_out, level = %metadata.level(), "and more lines like those of {file}:{line}");
    }
}

/// One place in the code, and what it has said lately.
#[derive(Default)]
struct Place {
    window: Option<Instant>,
    lines: u32,
    left_out: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    /// A sum is due.
    FirstLeftOut,
    LeftOut,
}

impl Place {
    fn say(&mut self, now: Instant) -> Verdict {
        if self.window.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            (self.window, self.lines) = (Some(now), 0);
        }
        if self.lines < LINES {
            self.lines += 1;
            return Verdict::Write;
        }
        self.left_out += 1;
        if self.left_out == 1 { Verdict::FirstLeftOut } else { Verdict::LeftOut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_heard_so_often_in_each_window_and_one_sum_is_due() {
        let (mut place, start) = (Place::default(), Instant::now());
        let mut say = |n: u32, after| {
            let said: Vec<_> = (0..n).map(|_| place.say(start + after)).collect();
            let count = |of| said.iter().filter(|verdict| **verdict == of).count();
            (count(Verdict::Write), count(Verdict::FirstLeftOut), count(Verdict::LeftOut))
        };
        assert_eq!(say(20, Duration::ZERO), (20, 0, 0));
        assert_eq!(say(50, WINDOW / 2), (0, 1, 49));
        // The sum is not told yet, so no second one is asked for.
        assert_eq!(say(70, WINDOW), (20, 0, 50));
        place.left_out = 0;
        assert_eq!(place.say(start + WINDOW), Verdict::FirstLeftOut);
    }
}
