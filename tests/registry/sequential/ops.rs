//! What can happen, and how often it is tried.

use std::{ops::RangeInclusive, time::Duration};

use headcount::{model::HealthState, registry::RegistrySettings};
use proptest::{
    collection::vec,
    option,
    prelude::{BoxedStrategy, Just, Strategy, any},
    prop_oneof,
    sample::select,
};

use crate::{
    lens::{Lens, SELECTOR_COUNT},
    world::{INBOUNDS, MESHES, NAMESPACES, Name, Pulse, Statement, WORKLOADS, Who, ZONES, settings},
};

/// Most sequences are short, which is where most bugs are and what 10,000 of
/// them in a minute allow; some are long, so that there is a history to get
/// wrong.
const SHORT: RangeInclusive<usize> = 1..=20;
const LONG: RangeInclusive<usize> = 21..=60;

/// A sequence, and the registry it happens to.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) setting: Setting,
    pub(super) ops: Vec<Op>,
}

/// The settings that matter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting {
    pub(super) retention: Duration,
    pub(super) log_capacity: usize,
    pub(super) max_dataplanes: usize,
    pub(super) max_sessions: usize,
    pub(super) max_sessions_per_mesh: usize,
}

/// One of those there are, by its place modulo their number; nothing happens
/// if there is none.
pub(super) type Pick = u8;

#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// Registers, returns, takes over or moves, as it comes.
    Hello(Who, Statement),
    /// By any session, superseded ones too, as the next three.
    Report(Pick, Pulse),
    Goodbye(Pick),
    Cut(Pick),
    /// Seconds pass, and with them perhaps the retention of some.
    Pass(u8),
    /// Another watcher comes.
    Watch(Lens),
    /// A watcher reads one message.
    Poll(Pick),
    /// A watcher disconnects and comes back.
    Resume(Pick),
    /// A watcher goes.
    Leave(Pick),
    /// A listing begins, with pages of this size.
    List(Lens, u8),
    /// A listing goes on.
    Page(Pick),
}

pub(super) fn case() -> impl Strategy<Value = Case> {
    let ops = prop_oneof![2 => vec(op(), SHORT), 1 => vec(op(), LONG)];
    (setting(), ops).prop_map(|(setting, ops)| Case { setting, ops })
}

impl Setting {
    pub(super) fn settings(self) -> RegistrySettings {
        RegistrySettings {
            retention: self.retention,
            log_capacity: self.log_capacity,
            max_dataplanes: self.max_dataplanes,
            max_sessions: self.max_sessions,
            max_sessions_per_mesh: self.max_sessions_per_mesh,
            ..settings()
        }
    }
}

fn setting() -> impl Strategy<Value = Setting> {
    let retention = prop_oneof![4 => Just(60), 1 => Just(0)].prop_map(Duration::from_secs);
    let log_capacity = select(&[1_000, 12, 3, 2, 1][..]);
    let limits = prop_oneof![4 => Just((100, 100, 100)), 1 => Just((6, 4, 2))];
    (retention, log_capacity, limits).prop_map(|(retention, log_capacity, limits)| {
        let (max_dataplanes, max_sessions, max_sessions_per_mesh) = limits;
        Setting { retention, log_capacity, max_dataplanes, max_sessions, max_sessions_per_mesh }
    })
}

fn op() -> BoxedStrategy<Op> {
    let pick = any::<Pick>;
    prop_oneof![
        10 => (who(), statement()).prop_map(|(who, statement)| Op::Hello(who, statement)),
        8 => (pick(), pulse()).prop_map(|(session, pulse)| Op::Report(session, pulse)),
        2 => pick().prop_map(Op::Goodbye),
        4 => pick().prop_map(Op::Cut),
        2 => (1..90_u8).prop_map(Op::Pass),
        1 => lens().prop_map(Op::Watch),
        5 => pick().prop_map(Op::Poll),
        2 => pick().prop_map(Op::Resume),
        1 => pick().prop_map(Op::Leave),
        1 => (lens(), 1..4_u8).prop_map(|(lens, size)| Op::List(lens, size)),
        2 => pick().prop_map(Op::Page),
    ]
    .boxed()
}

/// Twelve dataplanes, most of them in one namespace.
fn who() -> impl Strategy<Value = Who> {
    let namespace = prop_oneof![3 => Just(NAMESPACES[0]), 1 => Just(NAMESPACES[1])];
    (select(&MESHES[..]), namespace, select(&["d0", "d1"][..])).prop_map(|(mesh, namespace, name)| Who {
        mesh,
        namespace,
        name,
    })
}

fn statement() -> impl Strategy<Value = Statement> {
    let workload = prop_oneof![
        4 => Just(Some(WORKLOADS[0])),
        2 => Just(Some(WORKLOADS[1])),
        1 => Just(None),
    ];
    (workload, select(&ZONES[..]), any::<bool>(), 0..=INBOUNDS)
        .prop_map(|(workload, zone, kubernetes, inbounds)| Statement { workload, zone, kubernetes, inbounds })
}

fn pulse() -> impl Strategy<Value = Pulse> {
    let state = || {
        prop_oneof![
            4 => Just(HealthState::Ready),
            1 => Just(HealthState::NotReady),
            1 => Just(HealthState::Unknown),
        ]
    };
    (state(), [state(), state()]).prop_map(|(proxy, inbounds)| Pulse { proxy, inbounds })
}

fn lens() -> impl Strategy<Value = Lens> {
    fn rarely(names: &'static [Name]) -> impl Strategy<Value = Option<Name>> {
        option::weighted(0.25, select(names))
    }
    let selector = prop_oneof![1 => Just(0), 1 => 0..SELECTOR_COUNT];
    (rarely(&MESHES), rarely(&NAMESPACES), rarely(&WORKLOADS), selector)
        .prop_map(|(mesh, namespace, name, selector)| Lens { mesh, namespace, name, selector })
}
