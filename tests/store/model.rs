//! Random operations against a map: loads, outcomes and watches must equal those of the map.

use std::collections::BTreeMap;

use futures_util::{FutureExt as _, StreamExt as _};
use headcount::store::{Change, Expected, Item, Outcome, Store, Watch, Write};
use proptest::{prelude::*, sample::subsequence};
use tokio::runtime::Runtime;

use super::subject::{Directory, Durable as _, Memory, Subject};

const KEYS: [&str; 7] = ["a", "a/b", "a/c", "a/c/d", "a0", "b", "b/a"];
const PREFIXES: [&str; 5] = ["", "a", "a/", "a/c", "b"];

#[derive(Debug, Clone)]
enum Operation {
    Commit(Vec<RandomWrite>),
    /// Begins a watch, from this many revisions ago.
    Watch {
        prefix: usize,
        ago: u64,
    },
    /// Of a store that is durable.
    Reopen,
}

#[derive(Debug, Clone)]
struct RandomWrite {
    key: &'static str,
    expected: RandomExpected,
    value: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy)]
enum RandomExpected {
    Any,
    Absent,
    /// The revision of the present value, or 0.
    Present,
    Stale,
}

fn operation() -> impl Strategy<Value = Operation> {
    let commit = subsequence(KEYS.to_vec(), 0..=4)
        .prop_flat_map(|keys| keys.into_iter().map(write).collect::<Vec<_>>().prop_map(Operation::Commit));
    let watch = (0..PREFIXES.len(), 0..4_u64).prop_map(|(prefix, ago)| Operation::Watch { prefix, ago });
    prop_oneof![8 => commit, 2 => watch, 1 => Just(Operation::Reopen)]
}

fn write(key: &'static str) -> impl Strategy<Value = RandomWrite> {
    use RandomExpected::{Absent, Any, Present, Stale};
    let expected = prop_oneof![3 => Just(Any), 1 => Just(Absent), 3 => Just(Present), 1 => Just(Stale)];
    let value = prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..300));
    (expected, value).prop_map(move |(expected, value)| RandomWrite { key, expected, value })
}

/// A store, the map that it must equal, and its watches with what they have delivered.
struct Run {
    store: std::sync::Arc<dyn Store>,
    items: BTreeMap<&'static str, Item>,
    revision: u64,
    /// All changes, by revision; of the store since it was opened.
    changes: Vec<(u64, Vec<Change>)>,
    opened_at: u64,
    watches: Vec<(Watch, &'static str, u64)>,
}

impl Run {
    fn new(store: std::sync::Arc<dyn Store>) -> Self {
        let (items, changes, watches) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { store, items, revision: 0, changes, opened_at: 0, watches }
    }

    async fn commit(&mut self, writes: &[RandomWrite]) {
        let revision = self.revision + 1;
        let (mut requests, mut outcomes, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for RandomWrite { key, expected, value } in writes {
            let present = self.items.get(key).map(|item| item.revision);
            let (expected, holds) = match expected {
                RandomExpected::Any => (Expected::Any, true),
                RandomExpected::Absent => (Expected::Absent, present.is_none()),
                RandomExpected::Present => (Expected::Revision(present.unwrap_or(0)), present.is_some()),
                RandomExpected::Stale => (Expected::Revision(revision), false),
            };
            let key_bytes = bytes::Bytes::from(*key);
            requests.push(Write { key: key_bytes.clone(), expected, value: value.clone().map(Into::into) });
            outcomes.push(if holds { Outcome::Applied } else { Outcome::Conflict(present) });
            match value.clone() {
                _ if !holds => {}
                Some(value) => {
                    let created = self.items.get(key).map_or(revision, |item| item.created);
                    let item = Item { key: key_bytes, value: value.into(), revision, created };
                    self.items.insert(key, item.clone());
                    changes.push(Change::Put(item));
                }
                None if self.items.remove(key).is_some() => {
                    changes.push(Change::Delete { key: key_bytes, revision });
                }
                None => {}
            }
        }
        if !changes.is_empty() {
            self.revision = revision;
            self.changes.push((revision, changes));
        }
        let committed = self.store.commit(requests).await.unwrap();
        assert_eq!((committed.revision, committed.outcomes), (self.revision, outcomes));
    }

    fn watch(&mut self, prefix: usize, ago: u64) {
        let (prefix, after) = (PREFIXES[prefix], self.revision.saturating_sub(ago).max(self.opened_at));
        self.watches.push((self.store.watch(prefix.as_bytes(), after), prefix, after));
    }

    async fn check(&mut self) {
        for prefix in PREFIXES {
            let expected = self.items.iter().filter(|(key, _)| key.starts_with(prefix));
            let loaded = self.store.load(prefix.as_bytes()).await.unwrap();
            assert!(loaded.items.iter().eq(expected.map(|(_, item)| item)), "{prefix}: {loaded:?}");
            assert_eq!(loaded.revision, self.revision);
        }
        for (watch, prefix, position) in &mut self.watches {
            for (revision, changes) in self.changes.iter().filter(|(revision, _)| revision > position) {
                let matches = |change: &&Change| change.key().starts_with(prefix.as_bytes());
                let expected: Vec<_> = changes.iter().filter(matches).cloned().collect();
                if !expected.is_empty() {
                    assert_eq!(watch.next().now_or_never(), Some(Some(Ok(expected))), "{prefix} {revision}");
                }
            }
            *position = self.revision;
            assert!(watch.next().now_or_never().is_none(), "{prefix} has a change too many");
        }
    }
}

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("HEADCOUNT_STORE_CASES")
        .map_or(default, |text| text.parse().expect("HEADCOUNT_STORE_CASES: a number of sequences"));
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn run<S: Subject>(mut subject: S, operations: &[Operation], reopen: Option<fn(&mut S)>) {
    Runtime::new().unwrap().block_on(async {
        let mut run = Run::new(subject.store());
        for operation in operations {
            match (operation, reopen) {
                (Operation::Commit(writes), _) => run.commit(writes).await,
                (Operation::Watch { prefix, ago }, _) => run.watch(*prefix, *ago),
                (Operation::Reopen, None) => {}
                (Operation::Reopen, Some(reopen)) => {
                    run = Run { watches: Vec::new(), changes: Vec::new(), opened_at: run.revision, ..run };
                    run.store = std::sync::Arc::new(headcount::store::MemoryStore::new());
                    reopen(&mut subject);
                    run.store = subject.store();
                }
            }
            run.check().await;
        }
    });
}

proptest! {
    #![proptest_config(cases(500))]
    #[test]
    fn a_store_in_memory_equals_a_map(operations in prop::collection::vec(operation(), 1..30)) {
        run(Memory::new(), &operations, None);
    }
}

proptest! {
    #![proptest_config(cases(40))]
    #[test]
    fn a_data_directory_equals_a_map(operations in prop::collection::vec(operation(), 1..30)) {
        run(Directory::new(), &operations, Some(Directory::reopen));
    }
}
