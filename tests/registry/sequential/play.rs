//! Plays ops on a registry and on the model.

use std::time::Duration;

use headcount::{model::WorkloadKey, registry::Registry};
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep},
};

use super::{
    compare::Lives,
    model::Model,
    ops::{Op, Pick, Setting},
};
use crate::{
    held::Held,
    lens::Lens,
    reader::Reader,
    world::{Pulse, Statement, Who, connect},
};

/// More than a retention.
const LONG_ENOUGH: Duration = Duration::from_secs(100);

/// A registry, its model, and all who use both.
pub(super) struct Play<'a> {
    clock: &'a Runtime,
    registry: Registry,
    model: Model,
    lives: Lives,
    sessions: Vec<Held>,
    readers: Vec<Reader>,
    listings: Vec<Listing>,
    /// Numbers the reports.
    reports: u64,
}

/// Somebody reads a listing page by page while the world goes on.
struct Listing {
    lens: Lens,
    size: usize,
    revision: Option<u64>,
    after: Option<WorkloadKey>,
}

impl<'a> Play<'a> {
    pub(super) fn new(setting: Setting, clock: &'a Runtime) -> Self {
        let registry = Registry::new(setting.settings());
        // One reader is there from the beginning.
        let readers = vec![Reader::new(&registry, Lens::all())];
        Self {
            clock,
            registry,
            model: Model::new(setting),
            lives: Lives::default(),
            sessions: Vec::new(),
            readers,
            listings: Vec::new(),
            reports: 0,
        }
    }

    pub(super) fn op(&mut self, op: Op) {
        match op {
            Op::Hello(who, statement) => self.hello(who, statement),
            Op::Report(pick, pulse) => self.report(pick, pulse),
            Op::Goodbye(pick) => {
                if let Some(session) = take(&mut self.sessions, pick) {
                    self.model.goodbye(session.id());
                    session.goodbye();
                }
            }
            Op::Cut(pick) => {
                if let Some(session) = take(&mut self.sessions, pick) {
                    self.cut(session);
                }
            }
            Op::Pass(seconds) => self.pass(Duration::from_secs(seconds.into())),
            Op::Watch(lens) => self.readers.push(Reader::new(&self.registry, lens)),
            Op::Poll(pick) => {
                if let Some(at) = place(&self.readers, pick) {
                    self.poll(at);
                }
            }
            Op::Resume(pick) => {
                if let Some(at) = place(&self.readers, pick) {
                    self.readers[at].resume(&self.registry);
                }
            }
            Op::Leave(pick) => drop(take(&mut self.readers, pick)),
            Op::List(lens, size) => {
                let listing = Listing { lens, size: size.into(), revision: None, after: None };
                self.page(listing);
            }
            Op::Page(pick) => {
                if let Some(listing) = take(&mut self.listings, pick) {
                    self.page(listing);
                }
            }
        }
        self.lives.assert_same(&self.registry, &self.model);
        assert_eq!(self.registry.watchers(), self.readers.len());
    }

    /// All readers catch up; then everybody leaves, and nothing is left.
    pub(super) fn end(mut self) {
        self.catch_up();
        while let Some(session) = self.sessions.pop() {
            self.cut(session);
            self.lives.assert_same(&self.registry, &self.model);
        }
        self.pass(LONG_ENOUGH);
        self.lives.assert_same(&self.registry, &self.model);
        self.catch_up();
        assert!(self.model.registered.is_empty() && self.model.now().1.is_empty());
    }

    fn hello(&mut self, who: Who, statement: Statement) {
        let welcome = connect(&self.registry, statement.of(who));
        assert_eq!(welcome.is_err(), self.model.refuses(who), "{welcome:?}");
        if let Ok(welcome) = welcome {
            let warned = self.model.hello(who, statement, welcome.session.id());
            self.sessions.push(Held::new(welcome.session));
            assert_eq!(!welcome.warnings.is_empty(), warned, "{:?}", welcome.warnings);
        }
    }

    fn report(&mut self, pick: Pick, pulse: Pulse) {
        if let Some(at) = place(&self.sessions, pick) {
            let session = &mut self.sessions[at];
            self.reports += 1;
            let inbounds = session.dataplane().inbounds.len();
            session.report(pulse.report(self.reports, inbounds));
            self.model.report(session.id(), self.reports, pulse);
        }
    }

    fn cut(&mut self, session: Held) {
        self.model.cut(session.id(), Instant::now());
        session.cut();
    }

    fn pass(&mut self, time: Duration) {
        self.clock.block_on(async {
            tokio::select! {
                biased;
                () = self.registry.run() => unreachable!("it runs for ever"),
                () = sleep(time) => {}
            }
        });
        self.model.forget_due(Instant::now());
    }

    /// A reader hears what has happened, all of it, and nothing if that was
    /// nothing to it.
    fn poll(&mut self, at: usize) -> bool {
        let reader = &mut self.readers[at];
        let fresh = reader.is_fresh();
        let heard = reader.poll();
        let (_, mut picture) = self.model.now();
        if let Some(heard) = &heard {
            let reached = heard.before.is_some_and(|before| self.model.remembers(before));
            assert!(!(heard.reset && reached), "a needless reset: {heard:?}");
            assert!(heard.reset || reached || !heard.first, "a silent gap: {heard:?}");
            picture = self.model.at(heard.synced).expect("a step is never heard in part");
        } else {
            assert!(!fresh, "who comes is told where they are");
        }
        self.lives.assert_seen(reader.known(), picture, reader.lens());
        heard.is_some()
    }

    fn catch_up(&mut self) {
        for at in 0..self.readers.len() {
            while self.poll(at) {}
            let reader = &self.readers[at];
            self.lives.assert_seen(reader.known(), self.model.now().1, reader.lens());
        }
    }

    /// The next page shows the revision of the first, or says that it can't.
    fn page(&mut self, mut listing: Listing) {
        let Listing { lens, size, revision, .. } = listing;
        let page = self.registry.list(&lens.filter(), size, revision, listing.after.as_ref());
        let revision = revision.unwrap_or(self.model.now().0);
        let Ok(page) = page else {
            return assert!(!self.model.remembers(revision), "refused without need");
        };
        assert!(self.model.remembers(revision), "past the log's memory");
        assert_eq!(page.revision, revision);
        let picture = self.model.at(revision).expect("a listing is at a whole step");
        let after = listing.after.as_ref().map(|key| (key.namespace.as_str(), key.name.as_str()));
        let mut wanted = picture.iter().filter(|(key, seen)| {
            after.is_none_or(|after| after < **key) && lens.matches(seen.traits(**key))
        });
        assert_eq!(page.workloads.len(), wanted.clone().take(size).count());
        for (workload, (key, seen)) in page.workloads.iter().zip(wanted.by_ref()) {
            self.lives.assert_workload(workload, *key, seen);
        }
        assert_eq!(page.next_after.is_some(), wanted.next().is_some());
        if page.next_after.is_some() {
            listing.revision = Some(revision);
            listing.after = page.next_after;
            self.listings.push(listing);
        }
    }
}

fn place<T>(of: &[T], pick: Pick) -> Option<usize> {
    usize::from(pick).checked_rem(of.len())
}

fn take<T>(from: &mut Vec<T>, pick: Pick) -> Option<T> {
    place(from, pick).map(|at| from.remove(at))
}
