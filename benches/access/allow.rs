//! Decisions: whether a caller may do something, by a policy of few and of many role bindings.

use std::{
    collections::BTreeSet,
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::ensure;
use headcount::{
    access::{Access, Action, Caller, Credential, CredentialId, Object, Policy, Role, RoleBinding},
    model::{
        AnonymousAccess, Dataplane, DataplaneGrant, Invalid, Namespace, Principal, Proof, User,
        WORKLOAD_LABEL, WorkloadName,
    },
};

use crate::support::{
    rounds::{Figure, Measure, compare},
    target::Target,
    typical,
};

pub(crate) const ROW: &str = "allow";
pub(crate) const SIDES: [&str; 2] = ["256 role bindings", "4 role bindings"];

const BINDINGS: [usize; 2] = [256, 4];
/// Groups of the user.
const GROUPS: usize = 10;

/// Measures each kind of caller.
pub(crate) fn measure(quick: bool) -> anyhow::Result<Vec<Figure>> {
    let (rounds, time) = if quick { (3, 5) } else { (15, 50) };
    let time = Duration::from_millis(time);
    let many = Decisions::new(BINDINGS[0])?;
    let few = Decisions::new(BINDINGS[1])?;
    compare(ROW, rounds, [&many, &few], |decisions| decisions.measure(time))
}

/// Callers whose rights follow from one policy.
struct Decisions {
    dataplane: Dataplane,
    namespace: Namespace,
    owner: Caller,
    /// Named by the last binding.
    user: Caller,
    unbound: Caller,
    anonymous: Caller,
}

impl Decisions {
    fn new(bindings: usize) -> anyhow::Result<Self> {
        let policy = Policy::new((0..bindings).map(binding).collect::<Result<_, _>>()?);
        let access = Access::new(policy, SystemTime::now);
        let dataplane = typical::dataplane(1)?;
        let workload = WorkloadName::parse_universal("workload", &typical::workload(1))?;
        let grant = DataplaneGrant {
            mesh: Some(dataplane.key.mesh.clone()),
            namespace: Some(dataplane.key.namespace.clone()),
            name: Some(dataplane.key.name.clone()),
            workload: Some(workload.clone()),
            tags: [(WORKLOAD_LABEL.to_owned(), [workload.as_str().to_owned()].into())].into(),
            ..DataplaneGrant::unrestricted(Proof::Token)
        };
        let user = |last: String| {
            let others = (1..GROUPS).map(|number| format!("other-{number}"));
            let user = User::parse("somebody@example.com", &others.chain([last]).collect::<Vec<_>>())?;
            Ok::<_, Invalid>(access.caller(Principal::User(user), credential()))
        };
        Ok(Self {
            dataplane,
            namespace: namespace(bindings - 1)?,
            owner: access.caller(Principal::Dataplane(grant), credential()),
            user: user(group(bindings - 1))?,
            unbound: user("unbound".to_owned())?,
            anonymous: access.anonymous(AnonymousAccess::Public),
        })
    }

    fn measure(&self, time: Duration) -> anyhow::Result<Vec<Measure>> {
        let (dataplane, scope) =
            (Object::Dataplane(&self.dataplane), Object::Scope(Some(&self.namespace), None));
        let cases = [
            ("a dataplane, its registration", &self.owner, Action::RegisterDataplane, dataplane, true),
            ("a user of the last binding, a read", &self.user, Action::ReadWorkloads, scope, true),
            ("a user without a binding, denied", &self.unbound, Action::ReadWorkloads, scope, false),
            ("an anonymous caller, denied", &self.anonymous, Action::ReadWorkloads, scope, false),
            (
                "an anonymous caller, a health check",
                &self.anonymous,
                Action::CheckHealth,
                Object::Server,
                true,
            ),
        ];
        cases
            .into_iter()
            .map(|(name, caller, action, object, allowed)| {
                let nanos = nanos(time, caller, action, object, allowed)?;
                Ok(Measure::new(name, "ns", nanos).target(Target::AtMost(1_000.0)))
            })
            .collect()
    }
}

/// The time of a decision in nanoseconds.
fn nanos(
    time: Duration,
    caller: &Caller,
    action: Action,
    object: Object<'_>,
    allowed: bool,
) -> anyhow::Result<f64> {
    const BATCH: u32 = 100;
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < time {
        for _ in 0..BATCH {
            let decision = black_box(caller).allow(black_box(action), black_box(object));
            ensure!(decision.is_ok() == allowed, "{decision:?}");
        }
        done += BATCH;
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / f64::from(done))
}

/// The role of two users and a group, in a namespace.
fn binding(number: usize) -> Result<RoleBinding, Invalid> {
    Ok(RoleBinding {
        role: Role::Viewer,
        users: [format!("user-{number}@example.com"), format!("service-{number}")].into(),
        groups: [group(number)].into(),
        namespaces: [namespace(number)?].into(),
        meshes: BTreeSet::new(),
    })
}

fn group(number: usize) -> String {
    format!("team-{number}")
}

fn namespace(number: usize) -> Result<Namespace, Invalid> {
    Namespace::parse("namespace", &format!("team-{number}"))
}

fn credential() -> Credential {
    let id = CredentialId::Certificate { serial: "01".to_owned(), spiffe: None };
    Credential { id, expires: None, recheck: Arc::new(|| Ok(())) }
}
