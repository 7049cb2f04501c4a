//! The keys of a store. Names contain no `/`, so a key has one reading.

use bytes::Bytes;

use crate::model::{DataplaneKey, KeyId, KeyUse, MeshName, ResourceKey, TokenId, WorkloadKey};

/// The prefix of registrations.
pub const DATAPLANES: &[u8] = b"dataplanes/";
/// The prefix of Workloads.
pub const WORKLOADS: &[u8] = b"workloads/";
/// The key of the reserved revisions.
pub const REVISIONS: &[u8] = b"server/revisions";

/// The prefix of the keys that the server signs tokens with.
pub const TOKEN_KEYS: &[u8] = b"token-keys/";
/// The prefix of revocations.
pub const REVOCATIONS: &[u8] = b"revocations/";
/// The prefix of the revocations of single tokens, which are all that there are.
const REVOKED_TOKENS: &[u8] = b"revocations/token/";

/// The prefix of `MeshIdentities`.
pub const MESH_IDENTITIES: &[u8] = b"mesh-identities/";

/// The key of a dataplane's registration.
pub fn dataplane(key: &DataplaneKey) -> Bytes {
    format!("dataplanes/{}/{}/{}", key.mesh, key.namespace, key.name).into()
}

/// The key of a Workload.
pub fn workload(key: &WorkloadKey) -> Bytes {
    format!("workloads/{}/{}", key.namespace, key.name).into()
}

/// The three parts of a dataplane's key after its prefix: mesh, namespace and name.
pub fn dataplane_parts(key: &[u8]) -> Option<[&str; 3]> {
    let mut parts = std::str::from_utf8(key.strip_prefix(DATAPLANES)?).ok()?.split('/');
    let found = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(found)
}

/// The two parts of a Workload's key after its prefix: namespace and name.
pub fn workload_parts(key: &[u8]) -> Option<[&str; 2]> {
    let mut parts = std::str::from_utf8(key.strip_prefix(WORKLOADS)?).ok()?.split('/');
    let found = [parts.next()?, parts.next()?];
    parts.next().is_none().then_some(found)
}

/// The key of a `MeshIdentity`.
pub fn mesh_identity(key: &ResourceKey) -> Bytes {
    format!("mesh-identities/{}/{}", key.namespace, key.name).into()
}

/// The namespace and the name in the key of a `MeshIdentity`; none if it is another key.
pub fn mesh_identity_key(key: &[u8]) -> Option<ResourceKey> {
    let (namespace, name) = str::from_utf8(key.strip_prefix(MESH_IDENTITIES)?).ok()?.split_once('/')?;
    ResourceKey::parse(namespace, name).ok()
}

/// The key of a signing key.
pub fn token_key(usage: &KeyUse, id: &KeyId) -> Bytes {
    match usage {
        KeyUse::Mesh(mesh) => format!("token-keys/mesh/{mesh}/{id}"),
        KeyUse::AllMeshes => format!("token-keys/all-meshes/{id}"),
        KeyUse::Users => format!("token-keys/users/{id}"),
    }
    .into()
}

/// The use and the identifier in the key of a signing key; none if it is another key.
pub fn token_key_parts(key: &[u8]) -> Option<(KeyUse, KeyId)> {
    let (usage, id) = str::from_utf8(key.strip_prefix(TOKEN_KEYS)?).ok()?.rsplit_once('/')?;
    let usage = match usage {
        "all-meshes" => KeyUse::AllMeshes,
        "users" => KeyUse::Users,
        mesh => KeyUse::Mesh(MeshName::parse("mesh", mesh.strip_prefix("mesh/")?).ok()?),
    };
    Some((usage, KeyId::parse("kid", id).ok()?))
}

/// The key of the revocation of a token.
pub fn revoked_token(id: &TokenId) -> Bytes {
    [REVOKED_TOKENS, id.as_str().as_bytes()].concat().into()
}

/// The token that the revocation with this key revokes; none if it is another key.
pub fn revoked_token_id(key: &[u8]) -> Option<TokenId> {
    TokenId::parse("jti", str::from_utf8(key.strip_prefix(REVOKED_TOKENS)?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataplaneName, Namespace};

    #[test]
    fn the_keys_of_signing_keys_and_revocations_have_one_reading() {
        let id = KeyId::parse("kid", "mesh").unwrap();
        let uses = [KeyUse::Mesh(MeshName::parse("", "users").unwrap()), KeyUse::AllMeshes, KeyUse::Users];
        for usage in uses {
            let key = token_key(&usage, &id);
            assert_eq!(token_key_parts(&key), Some((usage, id.clone())));
            assert_eq!(revoked_token_id(&key), None);
        }
        let token = TokenId::parse("jti", "a/b+c=").unwrap();
        assert_eq!(revoked_token_id(&revoked_token(&token)), Some(token.clone()));
        assert_eq!(token_key_parts(&revoked_token(&token)), None);
        for bad in [
            "token-keys/1",
            "token-keys/mesh/1",
            "token-keys/mesh/a/b/1",
            "token-keys/other/1",
            "token-keys/users/",
        ] {
            assert_eq!(token_key_parts(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(revoked_token_id(b"revocations/token/"), None);
    }

    #[test]
    fn the_key_of_a_mesh_identity_has_one_reading() {
        let key = ResourceKey::parse("shop", "web.a").unwrap();
        assert_eq!(mesh_identity_key(&mesh_identity(&key)), Some(key));
        for bad in ["mesh-identities/a", "mesh-identities/a/b/c", "mesh-identities/A/b", "workloads/a/b"] {
            assert_eq!(mesh_identity_key(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_key_has_the_parts_that_it_was_made_of() {
        let namespace = Namespace::parse("", "shop").unwrap();
        let dataplane_key = DataplaneKey {
            mesh: MeshName::parse("", "default").unwrap(),
            namespace,
            name: DataplaneName::parse("", "web-1.a").unwrap(),
        };
        let key = dataplane(&dataplane_key);
        assert_eq!(dataplane_parts(&key), Some(["default", "shop", "web-1.a"]));
        assert_eq!(workload_parts(&key), None);
        let key = workload(&WorkloadKey::parse("shop", "web").unwrap());
        assert_eq!((&*key, workload_parts(&key)), (&b"workloads/shop/web"[..], Some(["shop", "web"])));
        for bad in [&b"workloads/a"[..], b"workloads/a/b/c", b"workloads/\xff/b", b"dataplanes/a/b/c/d"] {
            assert_eq!((dataplane_parts(bad), workload_parts(bad)), (None, None));
        }
    }
}
