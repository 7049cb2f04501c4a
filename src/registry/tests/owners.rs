//! The right to a registered dataplane.

use std::time::{Duration, SystemTime};

use super::*;
use crate::{
    access::{Access, Caller, Credential, CredentialId, Policy},
    model::{DataplaneGrant, Principal, Proof, WorkloadName},
};

/// A caller with a token for the dataplanes of a workload.
fn caller_of(workload: &str) -> Caller {
    let workload = WorkloadName::parse_kubernetes("workload", workload).ok();
    let grant = DataplaneGrant { workload, ..DataplaneGrant::unrestricted(Proof::Token) };
    let credential = Credential {
        id: CredentialId::FrontProxy("test".into()),
        expires: None,
        recheck: std::sync::Arc::new(|| Ok(())),
    };
    Access::new(Policy::default(), SystemTime::now).caller(Principal::Dataplane(grant), credential)
}

fn connect_as(registry: &Registry, caller: Caller, workload: &str) -> Result<Session, ConnectError> {
    let options = ConnectOptions { caller: Some(caller), ..ConnectOptions::new(Duration::MAX) };
    Ok(connect_with(registry, dataplane("a", workload), options)?.session)
}

#[tokio::test(start_paused = true)]
async fn a_registered_dataplane_is_taken_over_by_its_owner_only() {
    let registry = registry();
    let open = connect_as(&registry, caller_of("web"), "web").unwrap();
    let stolen = connect_as(&registry, caller_of("api"), "api");
    assert_eq!(stolen.map(drop).unwrap_err(), ConnectError::NotOwner);
    assert_eq!((counts(&registry, "web"), counts(&registry, "api")), (Some((1, 0, 1)), None));

    drop(open);
    let stolen = connect_as(&registry, caller_of("api"), "api");
    assert_eq!(stolen.map(drop).unwrap_err(), ConnectError::NotOwner, "also while it is lost");
    assert_eq!(counts(&registry, "web"), Some((0, 0, 1)));
    let _again = connect_as(&registry, caller_of("web"), "web").unwrap();
    assert_eq!(counts(&registry, "web"), Some((1, 0, 1)));
}
