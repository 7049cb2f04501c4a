use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;
use crate::{model::MeshName, store::MemoryStore};

fn document(name: &str, spec: &Value) -> MeshIdentityDocument {
    let document = json!({"type": "MeshIdentity", "mesh": "default", "name": name, "spec": spec});
    MeshIdentityDocument::parse(&document).unwrap()
}

fn trust_domain(domain: &str) -> Value {
    json!({"selector": {"dataplane": {}}, "spiffeID": {"trustDomain": domain, "path": "/x"}})
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn key(name: &str) -> ResourceKey {
    ResourceKey::parse("default", name).unwrap()
}

async fn empty() -> (Arc<MemoryStore>, MeshIdentities) {
    let store = Arc::new(MemoryStore::new());
    let identities = MeshIdentities::load(Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    (store, identities)
}

#[tokio::test]
async fn a_resource_is_created_configured_unchanged_and_deleted() {
    let (store, identities) = empty().await;
    let (created, applied) =
        identities.apply(document("web", &trust_domain("a.example")), None, at(1)).await.unwrap();
    assert_eq!((applied, created.generation, created.creation_time), (Applied::Created, 1, at(1)));
    let (same, applied) =
        identities.apply(document("web", &trust_domain("a.example")), None, at(2)).await.unwrap();
    assert_eq!((same, applied), (created.clone(), Applied::Unchanged));

    let (configured, applied) =
        identities.apply(document("web", &trust_domain("b.example")), None, at(2)).await.unwrap();
    assert_eq!((applied, configured.generation), (Applied::Configured, 2));
    assert_eq!((configured.uid, configured.creation_time), (created.uid, at(1)));
    assert!(configured.revision > created.revision);

    let mut labelled = document("web", &trust_domain("b.example"));
    labelled.identity.labels = crate::model::Labels::from_trusted([("team", "a")]);
    let (labelled, applied) = identities.apply(labelled, None, at(3)).await.unwrap();
    assert_eq!((applied, labelled.generation), (Applied::Configured, 2), "the spec is the same");

    let later = MeshIdentities::load(Arc::clone(&store) as Arc<dyn Store>).await.unwrap();
    assert_eq!(later.current(), identities.current(), "a restart changes nothing");
    assert_eq!(later.current().get(&key("web")), Some(&labelled));

    identities.delete(&key("web"), created.uid).await.unwrap();
    assert!(identities.current().is_empty());
    let not_found = Err(MeshIdentityError::NotFound(key("web")));
    assert_eq!(identities.delete(&key("web"), created.uid).await, not_found);
    let (again, _) =
        identities.apply(document("web", &trust_domain("a.example")), None, at(4)).await.unwrap();
    assert_ne!(again.uid, created.uid);
    assert_eq!(identities.delete(&key("web"), created.uid).await, not_found, "it was created again");
}

#[tokio::test]
async fn a_stale_version_and_another_mesh_change_nothing() {
    let (_, identities) = empty().await;
    let missing = identities.apply(document("web", &trust_domain("a.example")), Some(1), at(1)).await;
    let error = missing.unwrap_err();
    assert!(error.to_string().contains("its version is none, because it does not exist, not 1"), "{error}");

    let (first, _) =
        identities.apply(document("web", &trust_domain("a.example")), None, at(1)).await.unwrap();
    let second = document("web", &trust_domain("b.example"));
    let (second, _) = identities.apply(second, Some(first.revision), at(1)).await.unwrap();
    let stale =
        identities.apply(document("web", &trust_domain("c.example")), Some(first.revision), at(1)).await;
    let expected = MeshIdentityError::Changed {
        key: key("web"),
        expected: first.revision,
        present: Some(second.revision),
    };
    assert_eq!(stale.unwrap_err(), expected);

    let mut other = document("web", &trust_domain("c.example"));
    other.identity.mesh = MeshName::parse("", "other").unwrap();
    let error = identities.apply(other.clone(), None, at(1)).await.unwrap_err();
    let guessed = identities.apply(other, Some(7), at(1)).await.unwrap_err();
    assert_eq!(guessed, error, "the version of another mesh is not shown");
    assert_eq!(
        error.to_string(),
        "meshidentity default/web is in another mesh: delete it first, or choose another name"
    );
    assert_eq!(identities.current().get(&key("web")), Some(&second));
}

#[tokio::test]
async fn numbers_and_bytes_have_limits() {
    let (store, identities) = empty().await;
    let large = json!({"provider": {"type": "Extension", "extension": {"name": "x", "config": "a".repeat(MAX_SPEC_BYTES)}}});
    let error = identities.apply(document("web", &large), None, at(1)).await.unwrap_err();
    assert!(error.to_string().contains("at most 65536 are allowed"), "{error}");
    let (first, _) = identities.apply(document("web-0", &json!({})), None, at(1)).await.unwrap();
    let value = mesh_identity_to_store(&first).encode_to_vec();
    // Stored at once, because each change loads all.
    let others = (1..MAX_MESH_IDENTITIES).map(|index| Write {
        key: key::mesh_identity(&key(&format!("web-{index}"))),
        expected: Expected::Absent,
        value: Some(value.clone().into()),
    });
    store.commit(others.collect()).await.unwrap();
    let identities = MeshIdentities::load(store as Arc<dyn Store>).await.unwrap();
    let error = identities.apply(document("one-more", &json!({})), None, at(1)).await.unwrap_err();
    assert_eq!(error, MeshIdentityError::TooMany);
    let changed = identities.apply(document("web-1", &trust_domain("a.example")), None, at(1)).await;
    assert_eq!(changed.unwrap().1, Applied::Configured, "a change needs no place");
}

#[tokio::test]
async fn all_of_them_fit_into_one_message() {
    let (_, identities) = empty().await;
    let large = |text: &str| json!({"text": text.repeat(60_000)});
    let mut stored = 0;
    let error = loop {
        let document = document(&format!("web-{stored}"), &large("a"));
        match identities.apply(document, None, at(1)).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((stored, &error), (52, &MeshIdentityError::TooLargeTogether), "{error}");
    let changed = identities.apply(document("web-0", &large("b")), None, at(1)).await;
    assert_eq!(changed.unwrap().1, Applied::Configured, "a change counts once");
    let uid = identities.current().get(&key("web-1")).unwrap().uid;
    identities.delete(&key("web-1"), uid).await.unwrap();
    identities.apply(document("web-52", &large("a")), None, at(1)).await.unwrap();
}

#[tokio::test]
async fn a_record_that_cannot_be_used_ends_the_start() {
    let (store, identities) = empty().await;
    identities.apply(document("web", &trust_domain("a.example")), None, at(1)).await.unwrap();
    let stored = store.load(key::MESH_IDENTITIES).await.unwrap().items.remove(0);
    assert_eq!(check_mesh_identity_record(&stored), Some(Ok(())));
    let other = Item { key: "workloads/a/b".into(), ..stored.clone() };
    assert_eq!(check_mesh_identity_record(&other), None);
    let damaged = Item { value: "\u{1}".into(), ..stored.clone() };
    assert!(check_mesh_identity_record(&damaged).unwrap().unwrap_err().starts_with("can't be decoded"));

    let write = Write { key: stored.key, expected: Expected::Any, value: Some(damaged.value) };
    store.commit(vec![write]).await.unwrap();
    let error = MeshIdentities::load(store as Arc<dyn Store>).await.unwrap_err();
    assert!(error.to_string().contains("mesh-identities/default/web can't be decoded"), "{error}");
}
