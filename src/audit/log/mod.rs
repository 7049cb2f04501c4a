//! The audit log: JSON lines in a file.
//!
//! A caller makes its line and puts it into a bounded queue; a thread of its own writes it. So neither
//! a slow disk nor a full one delays a call. While the queue is full, lines are dropped and counted,
//! and a line states how many.

mod file;
mod limit;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::file::{CannotOpen, LogFile};
pub(super) use self::record::{Outcome, Record};
use self::{
    limit::RefusalLimit,
    writer::{RETRY_INTERVAL, Writer},
};
use crate::{access::RefusalReason, telemetry::metrics::AuditMetrics};

/// Lines that wait to be written, about 4 MB. A server admits fewer sessions in a second.
const CAPACITY: usize = 8_192;

/// Records what callers do. Clones share it; the default one records nothing.
#[derive(Debug, Clone, Default)]
pub struct AuditLog(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    /// Unbounded, so that a flush is never refused; `queued` bounds the lines.
    queue: mpsc::Sender<Message>,
    queued: AtomicUsize,
    limit: Mutex<RefusalLimit>,
    metrics: AuditMetrics,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// To be answered when all lines before it are written.
    Flush(oneshot::Sender<()>),
}

/// The thread that writes the log.
#[derive(Debug)]
pub struct WriterThread {
    /// Closed when the thread ends.
    running: oneshot::Receiver<()>,
}

impl WriterThread {
    /// Waits until the thread ends, which is a fault while the server runs.
    pub async fn ended(self) {
        let _closed = self.running.await;
    }
}

impl AuditLog {
    /// Starts the thread that writes to a file.
    ///
    /// # Errors
    ///
    /// If the process may start no more threads.
    pub fn start(file: LogFile, metrics: AuditMetrics) -> std::io::Result<(Self, WriterThread)> {
        let (log, writer) = Self::new(file, metrics);
        let (alive, running) = oneshot::channel::<()>();
        thread::Builder::new().name("audit-writer".into()).spawn(move || {
            let _alive = alive;
            writer.run();
        })?;
        Ok((log, WriterThread { running }))
    }

    fn new(file: LogFile, metrics: AuditMetrics) -> (Self, Writer) {
        let (sender, queue) = mpsc::channel();
        let dropped = metrics.dropped();
        let shared =
            Arc::new(Shared { queue: sender, queued: AtomicUsize::new(0), limit: Mutex::default(), metrics });
        let writer = Writer {
            file,
            queue,
            shared: Arc::downgrade(&shared),
            retry_interval: RETRY_INTERVAL,
            dropped,
            failing: false,
        };
        (Self(Some(shared)), writer)
    }

    /// Records a line, which is not made if nothing is recorded.
    pub(super) fn record<'a>(&self, record: impl FnOnce() -> Record<'a>) {
        if let Some(shared) = &self.0 {
            shared.enqueue(record().to_line());
        }
    }

    /// Records that a client was refused, unless there were too many such refusals: a later line has
    /// their sum.
    pub(super) fn refused<'a>(
        &self,
        peer: Option<IpAddr>,
        reason: RefusalReason,
        record: impl FnOnce() -> Record<'a>,
    ) {
        if let Some(shared) = &self.0
            && shared.limit.lock().admit(peer, reason, Instant::now())
        {
            shared.enqueue(record().to_line());
        }
    }

    /// Waits until everything that was recorded before is written. A caller limits the time.
    pub async fn flush(&self) {
        let Some(shared) = &self.0 else { return };
        let (sender, written) = oneshot::channel();
        let _ended = shared.queue.send(Message::Flush(sender));
        let _closed = written.await;
    }
}

impl Shared {
    fn enqueue(&self, line: Vec<u8>) {
        if self.queued.fetch_add(1, Ordering::Relaxed) >= CAPACITY {
            self.dequeued();
            self.metrics.drop_line();
        } else if self.queue.send(Message::Line(line)).is_err() {
            self.metrics.drop_line();
        }
    }

    /// A line has left the queue.
    fn dequeued(&self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
    }
}
