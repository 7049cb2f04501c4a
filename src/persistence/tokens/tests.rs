use std::collections::BTreeSet;

use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex as SyncMutex;

use super::*;
use crate::{
    authentication::token::TokenError,
    model::{DataplaneGrant, KeyAlgorithm, MeshName, Proof, TokenId, User},
    store::{Committed, Loaded, MemoryStore, Watch},
};

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

const HOUR: Duration = Duration::from_hours(1);

fn id(text: &str) -> KeyId {
    KeyId::parse("kid", text).unwrap()
}

fn default() -> KeyUse {
    KeyUse::Mesh(MeshName::parse("mesh", "default").unwrap())
}

/// A new key, created some hours after [`now`].
fn record(usage: KeyUse, kid: &str, hours: u64) -> SigningKeyRecord {
    let algorithm = KeyAlgorithm::EdDsa;
    let private_key = SigningKey::generate(algorithm).unwrap().private_key().clone();
    let creation_time = now() + Duration::from_hours(hours);
    SigningKeyRecord { id: id(kid), usage, algorithm, private_key, creation_time }
}

fn dataplane() -> Subject {
    let mesh = MeshName::parse("mesh", "default").ok();
    Subject::Dataplane(DataplaneGrant { mesh, ..DataplaneGrant::unrestricted(Proof::Token) })
}

fn load(store: &Arc<dyn Store>, at: SystemTime) -> Result<TokenKeys, StoreError> {
    TokenKeys::load(store.clone(), at).now_or_never().unwrap()
}

fn empty() -> (Arc<dyn Store>, TokenKeys) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let keys = load(&store, now()).unwrap();
    (store, keys)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("a store in memory does not wait")
}

fn verify(keys: &TokenKeys, token: &str) -> Result<KeyId, TokenError> {
    keys.verifier().borrow().verify(token, now()).map(|verified| verified.key_id)
}

#[test]
fn keys_sign_and_verify_and_outlive_a_restart_until_they_are_removed() {
    let (store, keys) = empty();
    assert!(!keys.verifier().borrow().has_keys());
    assert_eq!(wait(keys.issue(dataplane(), now(), HOUR)), Err(TokenKeysError::NoKey(default())));
    wait(keys.add(&record(default(), "1", 0))).unwrap();
    let first = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    wait(keys.add(&record(default(), "2", 1))).unwrap();
    let second = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    assert_eq!((verify(&keys, &first), verify(&keys, &second)), (Ok(id("1")), Ok(id("2"))));

    let again = load(&store, now()).unwrap();
    assert_eq!((verify(&again, &first), verify(&again, &second)), (Ok(id("1")), Ok(id("2"))));

    let mut changes = again.verifier();
    let verified = changes.borrow_and_update().verify(&first, now()).unwrap();
    wait(again.remove(&default(), &id("1"))).unwrap();
    assert!(changes.has_changed().unwrap());
    assert!(matches!(changes.borrow().recheck(&verified), Err(TokenError::UnknownKey { .. })));
    assert!(matches!(verify(&again, &first), Err(TokenError::UnknownKey { .. })));
    assert_eq!(verify(&again, &second), Ok(id("2")));
    let gone = wait(again.remove(&default(), &id("1"))).unwrap_err();
    assert_eq!(gone, TokenKeysError::NotFound { id: id("1"), usage: default() });
    assert!(verify(&load(&store, now()).unwrap(), &first).is_err());
}

#[test]
fn a_key_is_chosen_by_what_it_may_sign() {
    let (_, keys) = empty();
    wait(keys.add(&record(KeyUse::AllMeshes, "all", 0))).unwrap();
    let user = || Subject::User(User::parse("alice", &[]).unwrap());
    assert_eq!(wait(keys.issue(user(), now(), HOUR)), Err(TokenKeysError::NoKey(KeyUse::Users)));
    let token = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    assert_eq!(verify(&keys, &token), Ok(id("all")));
    wait(keys.add(&record(default(), "own", 0))).unwrap();
    let token = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    assert_eq!(verify(&keys, &token), Ok(id("own")));
    wait(keys.remove(&default(), &id("own"))).unwrap();
    assert!(matches!(verify(&keys, &token), Err(TokenError::UnknownKey { .. })));
    let token = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    assert_eq!(verify(&keys, &token), Ok(id("all")), "a removed key signs nothing");
}

#[test]
fn an_identifier_is_used_once_also_with_keys_of_files() {
    let (_, keys) = empty();
    let first = record(default(), "1", 0);
    wait(keys.add(&first)).unwrap();
    let exists = Err(TokenKeysError::Exists { id: id("1"), usage: default() });
    let token = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    assert_eq!(wait(keys.add(&record(default(), "1", 0))), exists);
    assert_eq!(verify(&keys, &token), Ok(id("1")), "the first key is unchanged");

    let key = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    let of_file = |kid| VerificationKey { id: id(kid), usage: default(), key: key.public_key() };
    assert_eq!(wait(keys.trust(vec![of_file("1")])), exists);
    wait(keys.trust(vec![of_file("2")])).unwrap();
    let offline = issue(&Claims::new(dataplane(), now(), HOUR), &id("2"), &key).unwrap();
    assert_eq!((verify(&keys, &offline), verify(&keys, &token)), (Ok(id("2")), Ok(id("1"))));
    let exists = Err(TokenKeysError::Exists { id: id("2"), usage: default() });
    assert_eq!(wait(keys.add(&record(default(), "2", 0))), exists);
    wait(keys.trust(vec![])).unwrap();
    assert!(verify(&keys, &offline).is_err());
}

#[test]
fn a_key_removed_from_the_file_is_removed_although_another_one_cannot_be_added() {
    let (_, keys) = empty();
    wait(keys.add(&record(default(), "stored", 0))).unwrap();
    let key = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    let of_file = |kid| VerificationKey { id: id(kid), usage: default(), key: key.public_key() };
    let token = |kid| issue(&Claims::new(dataplane(), now(), HOUR), &id(kid), &key).unwrap();
    wait(keys.trust(vec![of_file("kept"), of_file("removed")])).unwrap();
    assert_eq!(verify(&keys, &token("removed")), Ok(id("removed")));

    assert!(wait(keys.trust(vec![of_file("kept"), of_file("stored")])).is_err());
    assert!(matches!(verify(&keys, &token("removed")), Err(TokenError::UnknownKey { .. })));
    assert_eq!(verify(&keys, &token("kept")), Ok(id("kept")));
}

#[test]
fn revocations_outlive_a_restart_and_are_dropped_a_day_after_their_tokens() {
    let (store, keys) = empty();
    wait(keys.add(&record(default(), "1", 0))).unwrap();
    let token = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    let verified = keys.verifier().borrow().verify(&token, now()).unwrap();
    let revocation = Revocation { id: verified.id.clone(), expires: verified.expires };
    wait(keys.revoke(&revocation, now())).unwrap();
    assert_eq!(verify(&keys, &token), Err(TokenError::Revoked));

    let stored = || wait(store.load(key::REVOCATIONS)).unwrap().items.len();
    let day_after = verified.expires + KEPT_AFTER_EXPIRY;
    assert_eq!(verify(&load(&store, day_after).unwrap(), &token), Err(TokenError::Revoked));
    assert_eq!(stored(), 1);
    load(&store, day_after + Duration::from_secs(1)).unwrap();
    assert_eq!(stored(), 0);

    wait(keys.revoke(&revocation, now())).unwrap();
    assert_eq!(wait(keys.revocations()), [revocation]);
    let later = day_after + Duration::from_secs(1);
    let other = Revocation { id: TokenId::random(), expires: later };
    wait(keys.revoke(&other, later)).unwrap();
    assert_eq!(wait(keys.revocations()), [other], "a revocation drops those that have ended");
}

#[test]
fn revocations_have_a_bound() {
    let (store, _) = empty();
    let revoked = |number: usize, hours| Revocation {
        id: TokenId::parse("jti", &number.to_string()).unwrap(),
        expires: now() + Duration::from_hours(hours),
    };
    let full = (0..MAX_REVOCATIONS).map(|number| revoked(number, 1)).map(|revocation| Write {
        key: key::revoked_token(&revocation.id),
        expected: Expected::Absent,
        value: Some(revocation_to_store(&revocation).encode_to_vec().into()),
    });
    wait(store.commit(full.collect())).unwrap();
    let keys = load(&store, now()).unwrap();
    let one_more = revoked(MAX_REVOCATIONS, 1);
    assert_eq!(wait(keys.revoke(&one_more, now())), Err(TokenKeysError::TooManyRevocations));
    wait(keys.revoke(&one_more, now() + Duration::from_hours(30))).unwrap();
    assert_eq!(wait(store.load(key::REVOCATIONS)).unwrap().items.len(), 1);
}

#[test]
fn a_record_that_cannot_be_used_is_an_error_at_the_start() {
    let good = record(default(), "1", 0);
    let mut other_algorithm = signing_key_to_store(&good);
    other_algorithm.set_algorithm(crate::proto::store::KeyAlgorithm::Es256);
    let mut no_algorithm = signing_key_to_store(&good);
    no_algorithm.algorithm = 0;
    let endless = crate::proto::store::Revocation { expires: None };
    for (key, value, problem) in [
        ("token-keys/users/1", other_algorithm.encode_to_vec(), "private_key"),
        ("token-keys/users/1", no_algorithm.encode_to_vec(), "algorithm"),
        ("token-keys/users/1", vec![0xff], "can't be decoded"),
        (
            "token-keys/other/1",
            signing_key_to_store(&good).encode_to_vec(),
            "has not the key of a signing key",
        ),
        ("revocations/token/1", endless.encode_to_vec(), "expires"),
        ("revocations/other", vec![], "has not the key of a revocation"),
        ("revocations/token-keys/users/1", vec![], "has not the key of a revocation"),
    ] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let (key, value) = (bytes::Bytes::from(key), Some(value.into()));
        wait(store.commit(vec![Write { key: key.clone(), expected: Expected::Any, value }])).unwrap();
        let error = load(&store, now()).unwrap_err().to_string();
        assert!(error.contains(problem) && error.contains("backup"), "{error}");
        let item = wait(store.load(&key)).unwrap().items.pop().unwrap();
        assert!(check_token_record(&item).unwrap().unwrap_err().contains(problem));
    }
}

/// A store whose commits fail while the test asks for it.
#[derive(Debug, Default)]
struct Failing {
    store: MemoryStore,
    /// Whether the next commits are applied, and with which error they return.
    fails: SyncMutex<Option<(bool, StoreError)>>,
}

impl Store for Failing {
    fn load<'a>(&'a self, prefix: &'a [u8]) -> BoxFuture<'a, Result<Loaded, StoreError>> {
        self.store.load(prefix)
    }

    fn commit(&self, writes: Vec<Write>) -> BoxFuture<'_, Result<Committed, StoreError>> {
        match self.fails.lock().clone() {
            None => self.store.commit(writes),
            Some((applied, error)) => {
                if applied {
                    wait(self.store.commit(writes)).unwrap();
                }
                Box::pin(async { Err(error) })
            }
        }
    }

    fn check(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.store.check()
    }

    fn watch(&self, prefix: &[u8], after: u64) -> Watch {
        self.store.watch(prefix, after)
    }
}

#[test]
fn after_a_failed_commit_the_verifier_is_that_of_what_is_stored() {
    let failing = Arc::new(Failing::default());
    let store: Arc<dyn Store> = failing.clone();
    let keys = load(&store, now()).unwrap();
    wait(keys.add(&record(default(), "1", 0))).unwrap();
    let token = wait(keys.issue(dataplane(), now(), HOUR)).unwrap().token;
    let id_of_token = keys.verifier().borrow().verify(&token, now()).unwrap().id;
    let revocation = Revocation { id: id_of_token, expires: now() + HOUR };

    let full = StoreError::Unavailable("the disk is full".to_owned());
    *failing.fails.lock() = Some((false, full.clone()));
    assert_eq!(wait(keys.revoke(&revocation, now())), Err(TokenKeysError::Store(full)));
    assert_eq!(verify(&keys, &token), Ok(id("1")));

    let unknown = StoreError::Unknown("the disk failed".to_owned());
    *failing.fails.lock() = Some((true, unknown.clone()));
    assert_eq!(wait(keys.revoke(&revocation, now())), Err(TokenKeysError::Store(unknown)));
    assert_eq!(verify(&keys, &token), Err(TokenError::Revoked));
}

#[test]
fn nothing_prints_a_private_key() {
    let (_, keys) = empty();
    let record = record(default(), "1", 0);
    wait(keys.add(&record)).unwrap();
    let printed = format!("{keys:?} {record:?} {:?}", signing_key_to_store(&record));
    // As a list of numbers, as `Debug` prints bytes, or escaped, as `Bytes` does.
    let der = record.private_key.as_der();
    let (numbers, escaped) =
        (format!("{:?}", &der[16..24]), format!("{:?}", bytes::Bytes::copy_from_slice(&der[16..24])));
    assert!(!printed.contains(numbers.trim_matches(['[', ']'])), "{printed}");
    assert!(!printed.contains(escaped.trim_start_matches("b\"").trim_end_matches('"')), "{printed}");
    let secrets: BTreeSet<_> =
        printed.match_indices("private_key: ").map(|(at, _)| &printed[at..at + 23]).collect();
    assert_eq!(secrets, ["private_key: PrivateKey"].into());
}
