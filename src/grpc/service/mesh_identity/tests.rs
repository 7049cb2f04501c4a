//! Who may read and write which `MeshIdentity`. The users and their roles are those of `docs/access.md`.

use prost_types::{Struct, Value, value::Kind};

use super::*;
use crate::{grpc::access::tests::called_by, proto::MeshIdentity, store::MemoryStore};

async fn service() -> Identities {
    let identities = MeshIdentities::load(Arc::new(MemoryStore::new())).await.unwrap();
    Identities::new(Arc::new(identities), false)
}

/// Applies a `MeshIdentity`, with this text in its spec, in namespace `shop`.
async fn apply(service: &Identities, user: &str, mesh: &str, name: &str, text: &str) -> Result<(), Status> {
    let text = Value { kind: Some(Kind::StringValue(text.into())) };
    let identity = MeshIdentity {
        namespace: "shop".into(),
        name: name.into(),
        mesh: mesh.into(),
        spec: Some(Struct { fields: [("text".to_owned(), text)].into() }),
        ..MeshIdentity::default()
    };
    let request = ApplyMeshIdentityRequest { mesh_identity: Some(identity) };
    service.apply_mesh_identity(called_by(user, request)).await.map(drop)
}

async fn get(service: &Identities, user: &str, name: &str) -> Result<(), Status> {
    let request = GetMeshIdentityRequest { namespace: "shop".into(), name: name.into() };
    service.get_mesh_identity(called_by(user, request)).await.map(drop)
}

async fn delete(service: &Identities, user: &str, name: &str) -> Result<(), Status> {
    let request = DeleteMeshIdentityRequest { namespace: "shop".into(), name: name.into() };
    service.delete_mesh_identity(called_by(user, request)).await.map(drop)
}

/// The code and the message of a call.
fn outcome(result: Result<(), Status>) -> (Code, String) {
    let status = result.err().unwrap_or_else(|| Status::ok(""));
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn the_right_to_its_namespace_is_not_enough_to_write_a_mesh_identity() {
    let service = service().await;
    let (code, message) = outcome(apply(&service, "shop operator", "default", "web", "").await);
    assert_eq!(code, Code::PermissionDenied);
    assert!(message.ends_with("no permission to write mesh identities in mesh default"), "{message}");
    apply(&service, "mesh operator", "default", "web", "").await.unwrap();
    assert_eq!(outcome(apply(&service, "mesh operator", "other", "web", "").await).0, Code::PermissionDenied);
    assert_eq!(outcome(delete(&service, "shop operator", "web").await).0, Code::PermissionDenied);
    get(&service, "shop operator", "web").await.unwrap();
    delete(&service, "mesh operator", "web").await.unwrap();
}

#[tokio::test]
async fn a_caller_without_the_right_learns_nothing_about_a_mesh_identity() {
    let service = service().await;
    apply(&service, "operator", "other", "web", "").await.unwrap();
    let missing = outcome(get(&service, "mesh operator", "api").await);
    assert_eq!(missing.0, Code::PermissionDenied);
    assert_eq!(outcome(get(&service, "mesh operator", "web").await), missing);
    let missing = outcome(delete(&service, "mesh operator", "api").await);
    assert_eq!(missing.0, Code::PermissionDenied);
    assert_eq!(outcome(delete(&service, "mesh operator", "web").await), missing);
    let (code, message) = outcome(apply(&service, "mesh operator", "default", "web", "").await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("is in another mesh: delete it first"), "{message}");
    assert_eq!(outcome(get(&service, "operator", "api").await).0, Code::NotFound);
}

#[tokio::test]
async fn a_private_key_is_not_stored() {
    let service = service().await;
    let key = "-----BEGIN EC PRIVATE KEY-----\nAAAA";
    let (code, message) = outcome(apply(&service, "operator", "default", "web", key).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("contains a private key") && !message.contains("AAAA"), "{message}");
    assert_eq!(outcome(get(&service, "operator", "web").await).0, Code::NotFound);
}
