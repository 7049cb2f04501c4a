//! The thread that writes the audit log.

use std::{
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;
use tracing::{error, info};

use super::{
    LogFile, Message, Shared,
    limit::{Sum, WINDOW},
    record::Record,
};

/// Time between two attempts to write a line while the disk is full, for example.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Writes lines until all handles of the log are dropped.
pub(super) struct Writer {
    pub(super) file: LogFile,
    pub(super) queue: mpsc::Receiver<Message>,
    /// Weak, so that the thread ends with the last handle.
    pub(super) shared: Weak<Shared>,
    pub(super) retry_interval: Duration,
    /// Lines that were dropped before, which a line has recorded.
    pub(super) dropped: u64,
    pub(super) failing: bool,
}

/// The last handle was dropped.
struct Closed;

impl Writer {
    pub(super) fn run(mut self) {
        while let Ok(()) = self.step() {}
    }

    fn step(&mut self) -> Result<(), Closed> {
        let message = match self.queue.recv_timeout(WINDOW) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(Closed),
        };
        match message {
            Some(Message::Line(line)) => {
                self.shared()?.dequeued();
                self.write(&line)?;
            }
            Some(Message::Flush(written)) => return self.flush(written),
            None => {}
        }
        self.write_lost()?;
        let sums = self.shared()?.limit.lock().sums(Instant::now());
        self.write_sums(&sums)
    }

    /// Everything that was recorded before is written already.
    fn flush(&mut self, written: oneshot::Sender<()>) -> Result<(), Closed> {
        self.write_lost()?;
        let sums = self.shared()?.limit.lock().last_sums();
        self.write_sums(&sums)?;
        let _no_longer_waiting = written.send(());
        Ok(())
    }

    fn write_sums(&mut self, sums: &[Sum]) -> Result<(), Closed> {
        sums.iter().try_for_each(|sum| self.write(&Record::of_sum(sum).to_line()))
    }

    fn write_lost(&mut self) -> Result<(), Closed> {
        let dropped = self.shared()?.metrics.dropped();
        let lost = dropped - std::mem::replace(&mut self.dropped, dropped);
        if lost > 0 { self.write(&Record::of_lost(lost).to_line()) } else { Ok(()) }
    }

    /// Writes a line, however long that takes: meanwhile further lines wait in the queue.
    fn write(&mut self, line: &[u8]) -> Result<(), Closed> {
        loop {
            let result = self.file.write(line, Instant::now());
            let shared = self.shared()?;
            match &result {
                Ok(()) if self.failing => info!(log = self.file.name(), "the audit log is written again"),
                Err(error) if !self.failing => {
                    let log = self.file.name();
                    error!(log, %error, "can't write the audit log: its lines wait in memory");
                }
                Ok(()) | Err(_) => {}
            }
            self.failing = result.is_err();
            shared.metrics.set_failing(self.failing);
            if !self.failing {
                shared.metrics.written();
                return Ok(());
            }
            drop(shared);
            thread::sleep(self.retry_interval);
        }
    }

    fn shared(&self) -> Result<Arc<Shared>, Closed> {
        self.shared.upgrade().ok_or(Closed)
    }
}
