use super::*;
use crate::registry::{
    ClientResource,
    admission::Account,
    tests::{dataplane, dataplane_in},
};

fn capacity() -> Arc<Capacity> {
    capacity_of(&RegistrySettings {
        max_dataplanes: 4,
        max_sessions: 3,
        max_sessions_per_mesh: 2,
        max_registered_bytes: 100,
        max_registered_bytes_per_mesh: 60,
        max_client_share: 100,
        ..RegistrySettings::default()
    })
}

fn capacity_of(settings: &RegistrySettings) -> Arc<Capacity> {
    Arc::new(Capacity::new(settings))
}

/// A client that connects and leaves.
struct Client<'a> {
    capacity: &'a Arc<Capacity>,
    accounts: Accounts,
}

impl Client<'_> {
    /// A new dataplane of a mesh.
    fn connect(&self, mesh: &str, bytes: usize) -> Result<Arc<MemoryPermit>, LimitReached> {
        self.connect_to(&Arc::new(dataplane_in(mesh, "a", "web")), bytes, None)
    }

    fn connect_to(
        &self,
        dataplane: &Arc<Dataplane>,
        bytes: usize,
        replaces: Option<Replaced<'_>>,
    ) -> Result<Arc<MemoryPermit>, LimitReached> {
        self.capacity.reserve(&Reservation { dataplane, accounts: &self.accounts, bytes, replaces })
    }
}

fn client<'a>(capacity: &'a Arc<Capacity>, accounts: &[&str]) -> Client<'a> {
    Client { capacity, accounts: Accounts::named(accounts) }
}

fn open(memory: &MemoryPermit) -> Replaced<'_> {
    Replaced { memory, connected: true }
}

fn lost(memory: &MemoryPermit) -> Replaced<'_> {
    Replaced { memory, connected: false }
}

/// The sessions, dataplanes, bytes, workloads and watchers of an account.
fn amounts(capacity: &Capacity, account: &str) -> [usize; 5] {
    capacity.used.lock().by_client.amounts(&Account::named(account))
}

fn mesh(name: &str) -> MeshName {
    MeshName::parse("", name).unwrap()
}

#[test]
fn each_limit_rejects_and_an_end_makes_room() {
    let capacity = capacity();
    let all = client(&capacity, &[]);
    let (a1, a2) = (all.connect("a", 1).unwrap(), all.connect("a", 1).unwrap());
    let full = LimitReached::MeshSessions { mesh: mesh("a"), limit: 2 };
    assert_eq!(all.connect("a", 1).unwrap_err(), full);
    let b1 = all.connect("b", 1).unwrap();
    assert_eq!(all.connect("b", 1).unwrap_err(), LimitReached::Sessions { limit: 3 });
    capacity.release_session(&a1);
    let _b2 = all.connect("b", 1).unwrap();
    capacity.release_session(&a2);
    assert_eq!(all.connect("a", 1).unwrap_err(), LimitReached::Dataplanes { limit: 4 });
    let again = all.connect_to(&a1.dataplane, 1, Some(lost(&a1))).unwrap();
    capacity.release_session(&again);
    capacity.release_registration(&again);
    let _a3 = all.connect("a", 1).unwrap();
    assert_eq!(capacity.bytes(), 6);
    drop((a1, a2, b1));
    assert_eq!(capacity.bytes(), 3);
}

#[test]
fn memory_is_limited_per_mesh_and_in_all() {
    let capacity = capacity();
    let all = client(&capacity, &[]);
    let in_a = all.connect("a", 60).unwrap();
    let full = |name| LimitReached::MeshRegisteredBytes { mesh: mesh(name), limit: 60 };
    assert_eq!(all.connect("a", 1).unwrap_err(), full("a"));
    let in_b = all.connect("b", 40).unwrap();
    assert_eq!(all.connect("b", 1).unwrap_err(), LimitReached::RegisteredBytes { limit: 100 });
    assert_eq!(all.connect("c", usize::MAX).unwrap_err(), full("c"));
    capacity.release_session(&in_a);
    drop(in_a);
    assert_eq!(capacity.bytes(), 40);
    drop(all.connect("a", 60).unwrap());
    drop(in_b);
    assert_eq!(capacity.bytes(), 0);
}

#[test]
fn a_takeover_of_the_same_size_is_admitted_once_until_the_older_session_has_ended() {
    let capacity = capacity();
    let all = client(&capacity, &[]);
    let older = all.connect("a", 60).unwrap();
    let again = |bytes, older: &MemoryPermit| all.connect_to(&older.dataplane, bytes, Some(open(older)));
    assert!(again(61, &older).is_err());
    let newer = again(60, &older).unwrap();
    assert_eq!(capacity.bytes(), 120, "both are in memory");
    assert!(again(60, &newer).is_err(), "a session that does not end is counted");
    drop(older);
    assert!(again(60, &newer).is_ok());
}

#[test]
fn a_mesh_and_a_client_without_dataplanes_take_no_memory() {
    let capacity = capacity();
    let permit = client(&capacity, &["token 1"]).connect("a", 1).unwrap();
    assert_eq!(capacity.meshes(), [mesh("a")]);
    capacity.release_session(&permit);
    capacity.release_registration(&permit);
    assert!(capacity.meshes().is_empty());
    assert_eq!(amounts(&capacity, "token 1"), [0, 0, 1, 0, 0]);
    drop(permit);
    assert!(capacity.used.lock().by_mesh.is_empty());
    assert!(capacity.used.lock().by_client.is_empty());
}

#[test]
fn each_share_of_a_client_rejects_it_and_leaves_room_for_others() {
    let settings = RegistrySettings {
        max_registered_bytes: 100,
        max_registered_bytes_per_mesh: 100,
        max_client_share: 50,
        ..RegistrySettings::default()
    };
    let rejected = |used, limit| LimitReached::Client { account: Account::named("token 1"), used, limit };
    let cases = [
        (RegistrySettings { max_sessions: 6, ..settings.clone() }, rejected(ClientResource::Sessions, 3)),
        (RegistrySettings { max_dataplanes: 6, ..settings.clone() }, rejected(ClientResource::Dataplanes, 3)),
        (settings.clone(), rejected(ClientResource::RegisteredBytes, 50)),
        (
            RegistrySettings { max_workloads_per_client: 3, ..settings },
            rejected(ClientResource::Workloads, 3),
        ),
    ];
    for (settings, rejected) in cases {
        let capacity = capacity_of(&settings);
        let join = |client: &Client<'_>, n: usize| {
            client.connect_to(&Arc::new(dataplane(&format!("p{n}"), &format!("w{n}"))), 16, None)
        };
        let one = client(&capacity, &["token 1", "address 10.0.0.1"]);
        let _joined: Vec<_> = (0..3).map(|n| join(&one, n).unwrap()).collect();
        assert_eq!(join(&one, 3).unwrap_err(), rejected);
        let same_address = join(&client(&capacity, &["token 2", "address 10.0.0.1"]), 3).unwrap_err();
        assert!(same_address.to_string().starts_with("address 10.0.0.1 may have"), "{same_address}");
        assert!(join(&client(&capacity, &["token 2", "address 10.0.0.2"]), 3).is_ok());
    }
}

#[test]
fn a_limit_of_a_client_names_the_client_and_the_settings() {
    let text = |used| {
        let limit = LimitReached::Client { account: Account::named("token 17"), used, limit: 50 };
        (limit.setting(), limit.to_string())
    };
    assert_eq!(
        text(ClientResource::Dataplanes),
        (
            "max-client-share",
            "token 17 may have 50 registered dataplanes, connected or lost, the most this server allows one client \
             (max-client-share of max-dataplanes)"
                .to_owned()
        )
    );
    assert_eq!(
        text(ClientResource::Workloads),
        (
            "max-workloads-per-client",
            "token 17 may have 50 workloads, the most this server allows one client (max-workloads-per-client)"
                .to_owned()
        )
    );
}

#[test]
fn a_takeover_moves_the_registration_to_the_accounts_of_the_new_client() {
    let capacity =
        capacity_of(&RegistrySettings { max_workloads_per_client: 1, ..RegistrySettings::default() });
    let (one, two) =
        (client(&capacity, &["token 1", "address A"]), client(&capacity, &["token 2", "address A"]));
    let (web, api) = (Arc::new(dataplane("a", "web")), Arc::new(dataplane("a", "api")));
    let first = one.connect_to(&web, 10, None).unwrap();
    assert!(one.connect_to(&Arc::new(dataplane("b", "api")), 1, None).is_err(), "a second workload");
    let second =
        two.connect_to(&api, 20, Some(open(&first))).expect("the address leaves the former workload");
    assert_eq!(amounts(&capacity, "token 1"), [0, 0, 10, 0, 0], "its session is still in memory");
    assert_eq!(amounts(&capacity, "token 2"), [1, 1, 20, 1, 0]);
    assert_eq!(amounts(&capacity, "address A"), [1, 1, 30, 1, 0]);
    drop(first);
    assert_eq!(amounts(&capacity, "token 1"), [0; 5]);
    capacity.release_session(&second);
    assert_eq!(amounts(&capacity, "address A"), [0, 1, 20, 1, 0]);
    let third = two.connect_to(&api, 20, Some(lost(&second))).unwrap();
    drop(second);
    capacity.release_session(&third);
    capacity.release_registration(&third);
    drop(third);
    assert!(capacity.used.lock().by_client.is_empty());
}

#[test]
fn watchers_are_limited_per_client_and_in_all() {
    let capacity = capacity_of(&RegistrySettings { max_watchers: 4, ..RegistrySettings::default() });
    let (one, two) = (Accounts::named(&["user 1"]), Accounts::named(&["user 2"]));
    let full =
        LimitReached::Client { account: Account::named("user 1"), used: ClientResource::Watchers, limit: 2 };
    assert_eq!([(); 3].map(|()| capacity.begin_watch(&one)), [Ok(()), Ok(()), Err(full)]);
    assert_eq!([(); 2].map(|()| capacity.begin_watch(&two)), [Ok(()), Ok(())]);
    assert_eq!(capacity.begin_watch(&Accounts::default()), Err(LimitReached::Watchers { limit: 4 }));
    capacity.end_watch(&one);
    assert_eq!((capacity.watchers(), amounts(&capacity, "user 1")), (3, [0, 0, 0, 0, 1]));
    assert_eq!(capacity.begin_watch(&one), Ok(()));
}

#[test]
fn a_share_is_at_least_one_and_never_overflows() {
    for (limit, percent, share) in [(1, 50, 1), (199, 50, 99), (usize::MAX, 100, usize::MAX), (10, 1, 1)] {
        let settings = RegistrySettings {
            max_watchers: limit,
            max_client_share: percent,
            ..RegistrySettings::default()
        };
        assert_eq!(ClientLimits::new(&settings).watchers(), share, "{percent} % of {limit}");
    }
}
