//! Which changes concern the watchers of a single name.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use smallvec::SmallVec;
use tokio::sync::watch;

use super::notifier::Signal;
use crate::model::{ExactName, WorkloadKey};

/// Changes of a name that are remembered. A watcher that falls further behind searches
/// the log for them.
pub(super) const REMEMBERED: usize = 16;

/// The names that have watchers. A writer looks each change up by name, so a change
/// wakes only the watchers that it concerns.
#[derive(Debug, Default)]
pub(super) struct WatchedNames(HashMap<ExactName, WatchedName>);

#[derive(Debug)]
struct WatchedName {
    watchers: usize,
    /// `revisions` has every change after this one.
    after: u64,
    revisions: VecDeque<u64>,
    signal: Arc<Signal>,
}

/// The signals of the names that a transition has changed: usually one.
pub(super) type Signals = SmallVec<[Arc<Signal>; 2]>;

impl WatchedNames {
    /// Adds a watcher of a name at the latest revision. The name need not exist.
    pub(super) fn add(&mut self, name: &ExactName, head: u64) -> watch::Receiver<()> {
        let watched = self.0.entry(name.clone()).or_insert_with(|| WatchedName {
            watchers: 0,
            after: head,
            revisions: VecDeque::new(),
            signal: Arc::new(Signal::new()),
        });
        watched.watchers += 1;
        watched.signal.subscribe()
    }

    /// Removes a watcher, and the name with its last watcher.
    pub(super) fn remove(&mut self, name: &ExactName) {
        if let Some(watched) = self.0.get_mut(name) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                self.0.remove(name);
            }
        }
    }

    /// Records the revision of a change, and adds the signals of its watchers.
    pub(super) fn record(&mut self, key: &WorkloadKey, revision: u64, signals: &mut Signals) {
        if self.0.is_empty() {
            return;
        }
        let here = ExactName { name: key.name.clone(), namespace: Some(key.namespace.clone()) };
        let anywhere = ExactName { name: key.name.clone(), namespace: None };
        for name in [here, anywhere] {
            let Some(watched) = self.0.get_mut(&name) else { continue };
            if watched.revisions.len() == REMEMBERED {
                watched.after = watched.revisions.pop_front().unwrap_or(watched.after);
            }
            watched.revisions.push_back(revision);
            if !signals.iter().any(|signal| Arc::ptr_eq(signal, &watched.signal)) {
                signals.push(Arc::clone(&watched.signal));
            }
        }
    }

    /// The revisions of all changes of a name after a revision; none if they are not
    /// remembered.
    pub(super) fn changes(&self, name: &ExactName, after: u64) -> Option<impl Iterator<Item = u64>> {
        let watched = self.0.get(name).filter(|watched| watched.after <= after)?;
        Some(watched.revisions.iter().copied().filter(move |revision| *revision > after))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::notifier::Notifier, *};

    fn key(namespace: &str, name: &str) -> WorkloadKey {
        WorkloadKey::parse(namespace, name).unwrap()
    }

    fn exact(namespace: Option<&str>, name: &str) -> ExactName {
        let key = key(namespace.unwrap_or_default(), name);
        ExactName { name: key.name, namespace: namespace.map(|_| key.namespace) }
    }

    fn changes(names: &WatchedNames, name: &ExactName, after: u64) -> Option<Vec<u64>> {
        names.changes(name, after).map(Iterator::collect)
    }

    impl WatchedNames {
        pub(in crate::registry::log) fn len(&self) -> usize {
            self.0.len()
        }
    }

    #[test]
    fn a_change_concerns_the_watchers_of_its_name_in_its_namespace_and_in_any() {
        let mut names = WatchedNames::default();
        let watched = [exact(Some("shop"), "web"), exact(None, "web"), exact(Some("shop"), "api")];
        let mut receivers = watched.each_ref().map(|name| names.add(name, 0));
        for (key, revision, woken) in [
            (key("shop", "web"), 1, [true, true, false]),
            (key("bank", "web"), 2, [false, true, false]),
            (key("shop", "api"), 3, [false, false, true]),
            (key("bank", "api"), 4, [false; 3]),
        ] {
            let mut signals = Signals::new();
            names.record(&key, revision, &mut signals);
            Notifier::new().published(revision, signals);
            assert_eq!(receivers.each_ref().map(|receiver| receiver.has_changed().unwrap()), woken, "{key}");
            receivers.iter_mut().for_each(watch::Receiver::mark_unchanged);
        }
        assert_eq!(watched.map(|name| changes(&names, &name, 0).unwrap()), [vec![1], vec![1, 2], vec![3]]);
    }

    #[test]
    fn changes_are_remembered_up_to_a_bound_and_since_the_first_watcher() {
        let (mut names, web) = (WatchedNames::default(), exact(None, "web"));
        assert_eq!(changes(&names, &web, 0), None);
        let _receiver = names.add(&web, 10);
        assert_eq!((changes(&names, &web, 9), changes(&names, &web, 10)), (None, Some(vec![])));
        let last = 10 + REMEMBERED as u64 + 1;
        for revision in 11..=last {
            names.record(&key("", "web"), revision, &mut Signals::new());
        }
        assert_eq!(changes(&names, &web, 10), None, "the change of revision 11 is forgotten");
        assert_eq!(changes(&names, &web, 11).unwrap(), (12..=last).collect::<Vec<_>>());
        assert_eq!(changes(&names, &web, last - 1).unwrap(), [last]);
    }

    #[test]
    fn a_name_is_removed_with_its_last_watcher() {
        let (mut names, web) = (WatchedNames::default(), exact(None, "web"));
        let _receivers = [names.add(&web, 0), names.add(&web, 5)];
        names.remove(&web);
        assert_eq!(changes(&names, &web, 0), Some(vec![]));
        names.remove(&web);
        assert_eq!(names.len(), 0);
    }
}
