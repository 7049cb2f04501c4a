//! The table of `docs/access.md`, and live calls.

use std::{
    fmt::Write as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::FutureExt as _;

use super::*;
use crate::model::{
    AnonymousAccess, Dataplane, DataplaneGrant, DataplaneLimits, DataplaneSpec, MeshName, Namespace,
    Principal, Proof, TokenId, User,
};

fn mesh(name: &str) -> MeshName {
    MeshName::parse("mesh", name).unwrap()
}

fn namespace(name: &str) -> Namespace {
    Namespace::parse("namespace", name).unwrap()
}

/// A dataplane in namespace `shop`.
fn dataplane(mesh: &str) -> Dataplane {
    let spec = DataplaneSpec {
        mesh: mesh.into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        ..DataplaneSpec::default()
    };
    Dataplane::parse(&spec, DataplaneLimits::default()).unwrap()
}

fn binding(role: Role, user: &str) -> RoleBinding {
    RoleBinding {
        role,
        users: [user.to_owned()].into(),
        groups: [].into(),
        namespaces: [].into(),
        meshes: [].into(),
    }
}

/// The users are named after their roles. Those of team `shop` are limited to its namespace.
pub(crate) fn policy() -> Policy {
    let limited = |role, user| RoleBinding { namespaces: [namespace("shop")].into(), ..binding(role, user) };
    let of_mesh =
        RoleBinding { meshes: [mesh("default")].into(), ..binding(Role::Operator, "mesh operator") };
    let of_group =
        RoleBinding { users: [].into(), groups: ["viewers".into()].into(), ..binding(Role::Viewer, "") };
    let bindings = vec![
        binding(Role::Viewer, "viewer"),
        binding(Role::Operator, "operator"),
        limited(Role::Viewer, "shop viewer"),
        limited(Role::Operator, "shop operator"),
        of_mesh,
        of_group,
    ];
    Policy::new(bindings)
}

#[test]
fn every_binding_that_names_the_user_or_one_of_its_groups_counts() {
    let binding = |users: &[&str], groups: &[&str], limit: &str| RoleBinding {
        users: users.iter().map(|user| (*user).into()).collect(),
        groups: groups.iter().map(|group| (*group).into()).collect(),
        namespaces: [namespace(limit)].into(),
        ..binding(Role::Viewer, "")
    };
    let policy = Policy::new(vec![
        binding(&["alice", "bob"], &[], "of-user"),
        binding(&["alice"], &["shop", "bank"], "of-both"),
        binding(&["bob"], &["bank"], "of-second-group"),
        binding(&["bank", "bob"], &["alice"], "of-others"),
    ]);
    let alice = User { groups: vec!["shop".into(), "bank".into()], ..user("alice") };
    let alice = Principal::User(alice);
    for (limit, allowed) in
        [("of-user", true), ("of-both", true), ("of-second-group", true), ("of-others", false)]
    {
        let object = namespace(limit);
        let decision = allow(&policy, &alice, Action::ReadWorkloads, Object::Scope(Some(&object), None));
        assert_eq!(decision.is_ok(), allowed, "{limit}");
    }
}

/// Access with the policy of these tests.
pub(crate) fn access() -> Access {
    Access::new(policy(), clock)
}

/// A caller with a credential that does not end.
pub(crate) fn user_of(access: &Access, principal: Principal) -> Caller {
    access.caller(principal, credential(1_000_000_000))
}

fn user(name: &str) -> User {
    User { name: name.into(), groups: vec![] }
}

/// The columns of the table.
fn principals() -> Vec<(&'static str, Principal)> {
    let grant = DataplaneGrant { mesh: Some(mesh("default")), ..DataplaneGrant::unrestricted(Proof::Token) };
    let named = |name| (name, Principal::User(user(name)));
    vec![
        ("anonymous, trusted", Principal::Anonymous(AnonymousAccess::Full)),
        ("anonymous", Principal::Anonymous(AnonymousAccess::Public)),
        ("anonymous, metrics allowed", Principal::Anonymous(AnonymousAccess::PublicAndMetrics)),
        ("dataplane of mesh `default`", Principal::Dataplane(grant)),
        ("user without role", Principal::User(user("nobody"))),
        named("viewer"),
        named("shop viewer"),
        named("operator"),
        named("shop operator"),
        named("mesh operator"),
        ("user of kube-apiserver", Principal::ClusterUser(user("alice"))),
    ]
}

/// The objects of an action.
fn objects(action: Action) -> Vec<(&'static str, OwnedObject)> {
    let scope =
        |namespace_, mesh_| OwnedObject::Scope(Option::map(namespace_, namespace), Option::map(mesh_, mesh));
    let registered = |mesh| OwnedObject::Dataplane(Arc::new(dataplane(mesh)));
    match action {
        Action::RegisterDataplane => vec![
            ("before the dataplane is known", OwnedObject::Server),
            ("of mesh `default`, namespace `shop`", registered("default")),
            ("of mesh `other`, namespace `shop`", registered("other")),
        ],
        Action::ReadWorkloads | Action::ReadDataplanes | Action::ReadEvents | Action::ReadMeshIdentities => {
            vec![
                ("all", scope(None, None)),
                ("namespace `shop`", scope(Some("shop"), None)),
                ("namespace `bank`", scope(Some("bank"), None)),
                ("mesh `default`", scope(None, Some("default"))),
                ("mesh `default`, namespace `shop`", scope(Some("shop"), Some("default"))),
            ]
        }
        // A MeshIdentity is for all namespaces of its mesh.
        Action::WriteMeshIdentities => vec![
            ("all meshes", scope(None, None)),
            ("mesh `default`", scope(None, Some("default"))),
            ("mesh `other`", scope(None, Some("other"))),
        ],
        Action::IssueDataplaneToken => vec![
            ("all meshes", scope(None, None)),
            ("mesh `default`", scope(None, Some("default"))),
            ("mesh `default`, namespace `shop`", scope(Some("shop"), Some("default"))),
            ("mesh `other`", scope(None, Some("other"))),
        ],
        _ => vec![("", OwnedObject::Server)],
    }
}

#[test]
fn the_documented_table_is_what_is_decided() {
    let principals = principals();
    let mut table = String::from("| action | object |");
    for (name, _) in &principals {
        write!(table, " {name} |").unwrap();
    }
    writeln!(table, "\n|{}", " --- |".repeat(principals.len() + 2)).unwrap();
    for action in Action::ALL {
        for (name, object) in objects(action) {
            write!(table, "| {} | {name} |", action.as_str()).unwrap();
            for (_, principal) in &principals {
                let allowed = allow(&policy(), principal, action, object.get()).is_ok();
                table += if allowed { " yes |" } else { " |" };
            }
            table += "\n";
        }
    }
    assert_in_document(&table);
}

fn assert_in_document(table: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access.md");
    let document = fs::read_to_string(path).unwrap() + "\n";
    assert!(document.contains(table), "docs/access.md must contain this table:\n\n{table}");
}

/// Checks that a table of `docs/access.md` has exactly these paths with their actions.
pub(crate) fn assert_documented(paths: &[(String, Action)]) {
    let mut table = String::from("| path | action |\n| --- | --- |\n");
    for (path, action) in paths {
        writeln!(table, "| `{path}` | {} |", action.as_str()).unwrap();
    }
    assert_in_document(&format!("\n\n{table}\n"));
}

#[test]
fn a_user_has_the_roles_of_its_groups() {
    let grouped = Principal::User(User { name: "bob".into(), groups: vec!["x".into(), "viewers".into()] });
    let all = Object::Scope(None, None);
    assert_eq!(allow(&policy(), &grouped, Action::ReadWorkloads, all), Ok(()));
    let other = Principal::User(User { name: "viewers".into(), groups: vec!["x".into()] });
    let denied = allow(&policy(), &other, Action::ReadWorkloads, all).unwrap_err();
    assert_eq!(denied.to_string(), "user \"viewers\" has no permission to read workloads");
}

#[test]
fn a_denial_names_the_permission_and_the_scope_of_the_request() {
    let (shop, default) = (namespace("shop"), mesh("default"));
    let nobody = Principal::User(user("nobody"));
    let object = Object::Scope(Some(&shop), Some(&default));
    let denied = allow(&policy(), &nobody, Action::ReadEvents, object).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "user \"nobody\" has no permission to read events in namespace shop, mesh default"
    );
    let anonymous = Principal::Anonymous(AnonymousAccess::Public);
    let denied = allow(&policy(), &anonymous, Action::ReadEvents, object).unwrap_err();
    let text = "read events: authentication is required: send a token or a client certificate";
    assert_eq!(denied.to_string(), text);
}

/// A credential that ends after so many seconds.
fn credential(seconds: u64) -> Credential {
    Credential {
        id: CredentialId::Token(TokenId::random()),
        expires: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
        recheck: Arc::new(|| Ok(())),
    }
}

/// The wall clock of a test: seconds of tokio's paused clock.
pub(crate) fn clock() -> SystemTime {
    thread_local! {
        static START: tokio::time::Instant = tokio::time::Instant::now();
    }
    SystemTime::UNIX_EPOCH + START.with(tokio::time::Instant::elapsed)
}

fn viewer() -> Principal {
    Principal::User(user("viewer"))
}

fn all() -> OwnedObject {
    OwnedObject::Scope(None, None)
}

/// Runs the task of `access` while `test` runs.
async fn with_task(access: &Access, test: impl Future<Output = ()>) {
    tokio::select! {
        () = access.run() => unreachable!("it never ends"),
        () = test => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_its_credential_expires() {
    let access = Access::new(policy(), clock);
    let began = clock();
    let call = |seconds| {
        let expires = Some(began + Duration::from_secs(seconds));
        let caller = access.caller(viewer(), Credential { expires, ..credential(0) });
        caller.track(Action::ReadWorkloads, all())
    };
    with_task(&access, async {
        let (later, sooner, dropped) = (call(20), call(10), call(5));
        drop(dropped);
        assert_eq!(sooner.ended().await, Ended::Expired);
        let late = clock().duration_since(began + Duration::from_secs(10)).unwrap();
        assert!(late < Duration::from_secs(1), "{late:?}");
        assert_eq!(later.ended().now_or_never(), None);
        assert_eq!(later.ended().await, Ended::Expired);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_the_policy_no_longer_allows_it() {
    let access = Access::new(policy(), clock);
    let caller = access.caller(viewer(), credential(1_000_000_000));
    let call = caller.track(Action::ReadWorkloads, all());
    with_task(&access, async {
        access.set_policy(policy());
        tokio::task::yield_now().await;
        assert_eq!(call.ended().now_or_never(), None);
        access.set_policy(Policy::default());
        assert!(matches!(call.ended().await, Ended::Denied(_)));
        assert!(caller.allow(Action::ReadWorkloads, all().get()).is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_when_its_credential_is_revoked_also_just_before_it_began() {
    let access = Access::new(policy(), clock);
    let revoked = Arc::new(AtomicBool::new(false));
    let recheck = {
        let revoked = Arc::clone(&revoked);
        Arc::new(
            move || if revoked.load(Ordering::Relaxed) { Err("token is revoked".into()) } else { Ok(()) },
        )
    };
    let caller = access.caller(viewer(), Credential { recheck, ..credential(1_000_000_000) });
    let call = caller.track(Action::ReadWorkloads, all());
    with_task(&access, async {
        revoked.store(true, Ordering::Relaxed);
        access.recheck();
        assert_eq!(call.ended().await, Ended::Revoked("token is revoked".into()));
        let late = caller.track(Action::ReadWorkloads, all());
        assert_eq!(late.ended().now_or_never(), Some(Ended::Revoked("token is revoked".into())));
    })
    .await;
}

/// The chain of each client certificate is verified again, which takes a second for all of them.
#[tokio::test(start_paused = true)]
async fn other_tasks_run_while_many_calls_are_checked_again() {
    const CALLS: usize = 1_000;
    let access = Access::new(policy(), clock);
    let [turns, checked] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let recheck = {
        let (turns, checked) = (Arc::clone(&turns), Arc::clone(&checked));
        Arc::new(move || {
            // The first check of each call is that of its beginning.
            let again = checked.fetch_add(1, Ordering::Relaxed).checked_sub(CALLS);
            let least = again.unwrap_or_default() / 100;
            assert!(turns.load(Ordering::Relaxed) >= least, "no other task runs");
            again.map_or(Ok(()), |_| Err("token is revoked".into()))
        })
    };
    let caller = access.caller(viewer(), Credential { recheck, ..credential(1_000_000_000) });
    let call = || caller.track(Action::ReadWorkloads, all());
    let calls: Vec<_> = std::iter::repeat_with(call).take(CALLS).collect();
    with_task(&access, async {
        access.recheck();
        while calls.iter().any(|call| !call.has_ended()) {
            tokio::task::yield_now().await;
            turns.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    assert_eq!(checked.load(Ordering::Relaxed), 2 * CALLS);
}

#[tokio::test(start_paused = true)]
async fn what_must_be_done_at_the_end_of_a_call_is_done_though_nobody_polls_it() {
    let access = Access::new(policy(), clock);
    let done = |call: &LiveCall| {
        let done = Arc::new(AtomicBool::new(false));
        let set = Arc::clone(&done);
        call.on_end(move || set.store(true, Ordering::Relaxed));
        done
    };
    let caller = access.caller(viewer(), credential(1_000_000_000));
    let call = caller.track(Action::ReadWorkloads, all());
    let first = done(&call);
    with_task(&access, async {
        tokio::task::yield_now().await;
        assert!(!first.load(Ordering::Relaxed) && !call.has_ended());
        access.set_policy(Policy::default());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(first.load(Ordering::Relaxed) && call.has_ended());
        access.set_policy(policy());
        let call = caller.track(Action::ReadWorkloads, all());
        let endless = done(&call);
        drop(call);
        access.set_policy(Policy::default());
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!endless.load(Ordering::Relaxed), "it was over");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_credential_does_not_end() {
    let access = Access::new(policy(), clock);
    let caller = access.anonymous(AnonymousAccess::Full);
    let call = caller.track(Action::ReadWorkloads, all());
    with_task(&access, async {
        access.set_policy(Policy::default());
        tokio::time::sleep(Duration::from_hours(1)).await;
        assert_eq!(call.ended().now_or_never(), None);
    })
    .await;
}
