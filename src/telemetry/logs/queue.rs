//! A bounded queue between the code that logs and standard error.
//!
//! Standard error may be a pipe that nobody reads. A thread of its own writes to it, so that a write
//! that blocks stops this thread only. While the queue is full, lines are dropped and counted.

use std::{io, sync::OnceLock};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that wait to be written, about 2 MB. A burst of this size is written in milliseconds if
/// standard error is read.
const CAPACITY: usize = 8_192;

/// Logging is process-wide, and so is the count of its dropped lines.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Starts the thread that writes to standard error. Dropping the guard writes the lines of the queue,
/// for at most about a second.
pub(super) fn stderr() -> (NonBlocking, WorkerGuard) {
    let (queue, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(CAPACITY)
        .thread_name("log-writer")
        .finish(io::stderr());
    let _started_before = DROPPED.set(queue.error_counter());
    (queue, guard)
}

/// Returns how many lines were dropped since the start because the queue was full.
pub fn dropped_lines() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}
