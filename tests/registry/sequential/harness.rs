//! Performs operations on a registry and on the model, and compares them after each one.

use std::time::Duration;

use headcount::{
    model::{Records, WorkloadKey},
    registry::{ConnectError, Registry, ReportOutcome},
};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, sleep_until},
};

use super::{
    compare::Comparison,
    model::Model,
    ops::{Op, Pick, Setting},
    restart::Stored,
};
use crate::{
    domain::{Identity, ReportedHealth, Statement, connect_in_attempt},
    filter_case::FilterCase,
    open_session::OpenSession,
    reader::Reader,
};

/// Longer than the retention.
const PAST_RETENTION: Duration = Duration::from_secs(100);

/// A registry and its model, with the sessions, readers and listings in progress.
pub(super) struct Harness<'a> {
    clock: &'a Runtime,
    registry: Registry,
    model: Model,
    comparison: Comparison,
    sessions: Vec<OpenSession>,
    readers: Vec<Reader>,
    listings: Vec<Listing>,
    stored: Stored,
    /// Sequence number of the last report.
    sequence: u64,
}

/// A listing that is read page by page, between other operations.
struct Listing {
    filter: FilterCase,
    size: usize,
    revision: Option<u64>,
    after: Option<WorkloadKey>,
}

impl<'a> Harness<'a> {
    pub(super) fn new(setting: Setting, clock: &'a Runtime) -> Self {
        let registry = Registry::new(setting.settings());
        // From now on it collects changes of its records.
        registry.restore(Records::default(), Duration::ZERO);
        // One reader watches from the beginning.
        let readers = vec![Reader::new(&registry, FilterCase::all())];
        Self {
            clock,
            registry,
            model: Model::new(setting),
            comparison: Comparison::default(),
            sessions: Vec::new(),
            readers,
            listings: Vec::new(),
            stored: Stored::default(),
            sequence: 0,
        }
    }

    pub(super) fn perform(&mut self, op: Op) {
        match op {
            Op::Hello(identity, statement, late) => self.hello(identity, statement, late),
            Op::Report(pick, health) => self.report(pick, health),
            Op::Goodbye(pick) => {
                if let Some(session) = take(&mut self.sessions, pick) {
                    self.model.goodbye(session.id(), Instant::now());
                    session.goodbye();
                }
            }
            Op::Disconnect(pick) => {
                if let Some(session) = take(&mut self.sessions, pick) {
                    self.disconnect(session);
                }
            }
            Op::Drain => {
                self.registry.drain();
                self.model.draining = true;
            }
            Op::Advance(seconds) => self.advance(Duration::from_secs(seconds.into())),
            Op::Watch(filter) => self.readers.push(Reader::new(&self.registry, filter)),
            Op::Poll(pick) => {
                if let Some(at) = index(&self.readers, pick) {
                    self.poll(at);
                }
            }
            Op::Resume(pick) => {
                if let Some(at) = index(&self.readers, pick) {
                    self.readers[at].resume(&self.registry);
                }
            }
            Op::CloseWatch(pick) => drop(take(&mut self.readers, pick)),
            Op::List(filter, size) => {
                let listing = Listing { filter, size: size.into(), revision: None, after: None };
                self.page(listing);
            }
            Op::Page(pick) => {
                if let Some(listing) = take(&mut self.listings, pick) {
                    self.page(listing);
                }
            }
        }
        self.comparison.assert_same(&self.registry, &self.model);
        self.stored.assert_same(&self.registry, self.model.draining);
        assert_eq!(self.registry.watchers(), self.readers.len());
        for session in &self.sessions {
            assert_eq!(session.latest_notice(), self.model.notice(session.id()), "{session:?}");
        }
    }

    /// Restores another registry from what this one has stored, lets all readers catch up, ends all sessions,
    /// and checks that nothing remains after the retention, or everything if the server drains.
    pub(super) fn finish(mut self) {
        self.stored.assert_restores(&self.registry, self.model.setting);
        self.catch_up();
        while let Some(session) = self.sessions.pop() {
            self.disconnect(session);
            self.comparison.assert_same(&self.registry, &self.model);
        }
        self.advance(PAST_RETENTION);
        self.comparison.assert_same(&self.registry, &self.model);
        self.catch_up();
        self.stored.assert_same(&self.registry, self.model.draining);
        assert!(self.model.draining || self.model.registered.is_empty() && self.model.now().1.is_empty());
    }

    /// A hello waits for the flap interval, unless it is stale.
    fn hello(&mut self, identity: Identity, statement: Statement, late: u8) {
        let (attempt, start) = (self.model.attempt(identity, late), Instant::now());
        let stale = self.model.is_stale(identity, attempt, start);
        let connect_at = if stale { start } else { self.model.connect_at(identity, start) };
        let connected =
            self.clock.block_on(connect_in_attempt(&self.registry, statement.of(identity), attempt));
        assert_eq!(Instant::now(), connect_at, "{connected:?}");
        assert_eq!(matches!(connected, Err(ConnectError::Superseded)), stale, "{connected:?}");
        let exceeds = !stale && self.model.exceeds_limit(identity);
        assert_eq!(matches!(connected, Err(ConnectError::Limit(_))), exceeds, "{connected:?}");
        if let Ok(connected) = connected {
            let warned = self.model.hello(identity, statement, attempt, connected.session.id());
            self.sessions.push(OpenSession::new(connected.session));
            let has = |text| connected.warnings.iter().any(|warning| warning.contains(text));
            assert_eq!(has("multiple meshes"), warned, "{:?}", connected.warnings);
            assert_eq!(has("names no workload"), statement.workload.is_none(), "{:?}", connected.warnings);
        }
    }

    fn report(&mut self, pick: Pick, health: ReportedHealth) {
        if let Some(at) = index(&self.sessions, pick) {
            let session = &mut self.sessions[at];
            self.sequence += 1;
            let inbounds = session.dataplane().inbounds.len();
            let outcome = session.report(health.report(self.sequence, inbounds));
            // A change that is deferred becomes visible before the next operation.
            if outcome == ReportOutcome::Deferred {
                let at = session.next_flush().expect("a deferred report");
                assert!(at <= Instant::now() + self.model.setting.flap_interval);
                self.clock.block_on(sleep_until(at));
                assert_eq!(session.flush(), Some(self.sequence));
            }
            self.model.report(session.id(), self.sequence, health);
        }
    }

    fn disconnect(&mut self, session: OpenSession) {
        self.model.disconnect(session.id(), Instant::now());
        session.disconnect();
    }

    fn advance(&mut self, time: Duration) {
        self.clock.block_on(async {
            tokio::select! {
                biased;
                () = self.registry.run() => unreachable!("it runs forever"),
                () = sleep(time) => {}
            }
        });
        self.model.expire(Instant::now());
    }

    /// A reader receives one message, if there is one: it leads to a whole step of the model, skips
    /// nothing, and resets the state only if the log no longer reaches back to it. Without a message
    /// the reader's state must be the newest.
    fn poll(&mut self, at: usize) -> bool {
        let reader = &mut self.readers[at];
        let awaits_first = reader.awaits_first();
        let received = reader.poll();
        let (_, mut expected) = self.model.now();
        if let Some(received) = &received {
            let log_reaches = received.before.is_some_and(|before| self.model.log_reaches(before));
            assert!(!(received.reset && log_reaches), "a needless reset: {received:?}");
            // For a name that is watched already, the registry knows more than the whole log does.
            let remembered = reader.filter().name.is_some();
            let gapless = log_reaches || !received.first || remembered;
            assert!(received.reset || gapless, "a gap without a reset: {received:?}");
            expected = self.model.at(received.synced).expect("the revision of a whole step");
        } else {
            assert!(!awaits_first, "a new watch has no first message");
        }
        self.comparison.assert_known(reader.known(), expected, reader.filter());
        received.is_some()
    }

    fn catch_up(&mut self) {
        for at in 0..self.readers.len() {
            while self.poll(at) {}
            let reader = &self.readers[at];
            self.comparison.assert_known(reader.known(), self.model.now().1, reader.filter());
        }
    }

    /// Reads the next page: it must be at the revision of the first page, or be rejected because the
    /// log no longer reaches back to it.
    fn page(&mut self, mut listing: Listing) {
        let Listing { filter, size, revision, .. } = listing;
        let page = self.registry.list(&filter.filter(), size, revision, listing.after.as_ref());
        let revision = revision.unwrap_or(self.model.now().0);
        let Ok(page) = page else {
            return assert!(!self.model.log_reaches(revision), "rejected although the log reaches back");
        };
        assert!(self.model.log_reaches(revision), "a page beyond the reach of the log");
        assert_eq!(page.revision, revision);
        let workloads = self.model.at(revision).expect("a listing is at a whole step");
        let after = listing.after.as_ref().map(|key| (key.namespace.as_str(), key.name.as_str()));
        let mut expected = workloads.iter().filter(|(key, workload)| {
            after.is_none_or(|after| after < **key) && filter.matches(workload.attributes(**key))
        });
        assert_eq!(page.workloads.len(), expected.clone().take(size).count());
        for (workload, (key, expected)) in page.workloads.iter().zip(expected.by_ref()) {
            self.comparison.assert_workload(workload, *key, expected);
        }
        assert_eq!(page.next_after.is_some(), expected.next().is_some());
        if page.next_after.is_some() {
            listing.revision = Some(revision);
            listing.after = page.next_after;
            self.listings.push(listing);
        }
    }
}

fn index<T>(of: &[T], pick: Pick) -> Option<usize> {
    usize::from(pick).checked_rem(of.len())
}

fn take<T>(from: &mut Vec<T>, pick: Pick) -> Option<T> {
    index(from, pick).map(|at| from.remove(at))
}
