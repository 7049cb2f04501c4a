//! A session: a guard whose lifetime is the fact that a dataplane is connected.

use std::{fmt, sync::Arc};

use tokio::time::Instant;

use super::{
    Client,
    admission::Throttle,
    cell::{Notice, SessionCell, SessionId},
    counts::Entry,
    shared::{Departure, Shared},
};
use crate::model::{Dataplane, HealthReport};

/// An open session, made by [`Registry::connect`](super::Registry::connect). Dropping
/// it is the disconnect: the dataplane stays registered for the retention period.
/// [`Session::goodbye`] ends the registration as well.
///
/// When a newer session of the same dataplane takes over, this one no longer counts
/// and its end changes nothing.
pub struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) cell: Arc<SessionCell>,
    pub(crate) throttle: Throttle,
}

/// What a report changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportOutcome {
    /// Readers see a change.
    Visible,
    /// Nothing that readers see.
    Unchanged,
    /// The change comes too soon after the last one. It takes effect at
    /// [`Session::next_flush`], unless a newer report replaces it.
    Deferred,
}

impl Session {
    /// Its id, for logs.
    pub fn id(&self) -> SessionId {
        self.cell.id
    }

    /// The dataplane that is connected.
    pub fn dataplane(&self) -> &Arc<Dataplane> {
        &self.cell.dataplane
    }

    /// Records activity without a report, which restarts the idle timeout.
    pub fn touch(&self) {
        self.shared.idle.touch(&self.cell, Instant::now());
    }

    /// Records a report. It takes a lock and a revision only if it changes whether the
    /// dataplane counts as healthy.
    pub fn report(&mut self, report: HealthReport) -> ReportOutcome {
        let now = Instant::now();
        self.shared.idle.touch(&self.cell, now);
        self.apply(report, now)
    }

    /// When a deferred report takes effect; none if no report is deferred.
    pub fn next_flush(&self) -> Option<Instant> {
        self.throttle.next_flush(&self.cell)
    }

    /// Applies the deferred report if it is due, and returns its sequence number.
    pub fn flush(&mut self) -> Option<u64> {
        let report = self.throttle.deferred()?;
        let outcome = self.apply(report, Instant::now());
        (outcome != ReportOutcome::Deferred).then_some(report.sequence)
    }

    fn apply(&mut self, report: HealthReport, now: Instant) -> ReportOutcome {
        let healthy = self.cell.is_healthy_by(report);
        let flips = healthy != self.cell.is_healthy();
        let interval = self.shared.settings.flap_interval;
        if !self.throttle.admit(&self.cell, report, flips, interval, now) {
            return ReportOutcome::Deferred;
        }
        self.cell.store_report(report);
        if !flips {
            return ReportOutcome::Unchanged;
        }
        self.shared.flip(self, healthy);
        ReportOutcome::Visible
    }

    /// Ends the session and the registration.
    pub fn goodbye(self) {
        self.shared.depart(&self.cell, Departure::Goodbye);
    }

    /// Returns what makes the dataplane count as lost although the session is not dropped: the stream
    /// of a client that reads nothing may not be polled for a long time.
    pub fn loss(&self) -> impl Fn() + Send + Sync + 'static + use<> {
        let (shared, cell) = (Arc::clone(&self.shared), Arc::clone(&self.cell));
        move || {
            shared.depart(&cell, Departure::Lost);
        }
    }

    /// The client of the session that is open now, after another one has taken over.
    pub fn successor(&self) -> Option<Client> {
        let key = &self.cell.dataplane.key;
        self.shared.dataplanes.get(key)?.present().map(|present| present.client)
    }

    /// Waits until the registry requires something of the session's stream. One task
    /// may wait at a time; a later notice replaces an earlier one.
    pub async fn notice(&self) -> Notice {
        self.cell.notice().await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.depart(&self.cell, Departure::Lost);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.cell.id)
            .field("dataplane", &self.cell.dataplane.key)
            .finish_non_exhaustive()
    }
}
