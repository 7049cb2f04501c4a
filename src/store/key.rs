//! The keys of a store. Names contain no `/`, so a key has one reading.

use bytes::Bytes;

use crate::model::{DataplaneKey, WorkloadKey};

/// The prefix of registrations.
pub const DATAPLANES: &[u8] = b"dataplanes/";
/// The prefix of Workloads.
pub const WORKLOADS: &[u8] = b"workloads/";
/// The key of the reserved revisions.
pub const REVISIONS: &[u8] = b"server/revisions";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DataplaneName, MeshName, Namespace};

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
