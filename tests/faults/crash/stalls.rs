//! Measures how late the disk and the scheduler are, because that delays what a server stores.

use std::{
    collections::VecDeque,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

const INTERVAL: Duration = Duration::from_millis(10);
/// Number of measurements that are kept: more than a second.
const KEPT: usize = 128;

/// A thread that sleeps, writes and syncs a file again and again.
pub(crate) struct Stalls {
    measured: Arc<Mutex<VecDeque<Duration>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stalls {
    pub(crate) fn measure(file: &Path) -> Self {
        let mut file = File::create(file).expect("a file");
        let (measured, stop) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(AtomicBool::new(false)));
        let shared = (Arc::clone(&measured), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let (measured, stop) = shared;
            while !stop.load(Relaxed) {
                let start = Instant::now();
                thread::sleep(INTERVAL);
                file.write_all(b".").and_then(|()| file.sync_data()).expect("the file is written");
                let mut measured = measured.lock().unwrap();
                measured.push_back(start.elapsed().saturating_sub(INTERVAL));
                if measured.len() > KEPT {
                    measured.pop_front();
                }
            }
        });
        Self { measured, stop, thread: Some(thread) }
    }

    /// The longest delay of the last second.
    pub(crate) fn longest(&self) -> Duration {
        self.measured.lock().unwrap().iter().copied().max().unwrap_or_default()
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}
